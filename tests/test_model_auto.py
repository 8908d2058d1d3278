"""What is left open is settled by the frames, what is given stays, and what cannot be settled is refused."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch

from fastsep.config_file import from_json, to_json
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.model_auto import pick, require_shape, settle
from fastsep.model_config import LEFT_OPEN, ModelConfig
from fastsep.networks.sizes import fits, nearest, padding_for, single_valued
from fastsep.presets import PRESETS

OPEN = ModelConfig(**LEFT_OPEN)
# Widths and numbers of layers that a kind of network does not read, and what belongs to the data, not to the network.
UNREAD = {
    "mlp": {"last_activation", "sst_filters"},
    "dcgan": {"last_activation", "sst_filters", "enc_n_layers", "dec_n_layers"},
    "vgg": {"last_activation", "sst_filters", "enc_n_layers", "dec_n_layers"},
    "resnet": {"last_activation", "sst_filters", "enc_n_layers", "dec_n_layers"},
    "sst": {"last_activation", "enc_n_layers", "dec_n_layers"},
}


@pytest.mark.parametrize(
    ("shape", "kind", "why"),
    [
        ((1, 100), "mlp", "points"),
        ((5, 3000), "mlp", "points"),
        ((1, 32, 32), "mlp", "at most 1,024 values"),
        ((1, 7, 9), "mlp", "at most 1,024 values"),
        ((2, 32, 32), "dcgan", "squares of a power of two"),
        ((1, 256, 256), "dcgan", "squares of a power of two"),
        ((1, 512, 512), "sst", "no squares of a power of two"),
        ((1, 96, 64), "sst", "no squares of a power of two"),
        ((3, 48, 48), "sst", "no squares of a power of two"),
    ],
)
def test_a_network_is_picked_by_the_frames(shape, kind, why):
    assert pick(shape)[0] == kind
    config, line = settle(OPEN, shape)
    assert (config.shape, config.encoder, config.decoder) == (shape, kind, kind)
    assert not config.left_open
    assert line.startswith(f"frames of {'x'.join(map(str, shape))}: {kind} encoder and decoder, since they")
    assert why in line
    assert settle(config, shape) == (config, "")


@pytest.mark.parametrize(
    ("preset", "kind"), [("wave", "mlp"), ("mnist", "dcgan"), ("taxibj", "vgg"), ("chairs", "resnet"), ("sst", "sst")]
)
def test_what_comes_along_is_as_in_the_published_preset(preset, kind):
    published = PRESETS[preset]().model
    settled, _ = settle(replace(OPEN, encoder=kind, nt_cond=published.nt_cond), published.shape)
    differing = {name for name in LEFT_OPEN if getattr(settled, name) != getattr(published, name)}
    assert differing <= UNREAD[kind]


def test_sst_that_was_picked_skips_and_starts_with_the_future():
    picked, _ = settle(OPEN, (1, 48, 64))
    assert (picked.skip, picked.offset) == (True, 0)
    named, _ = settle(replace(OPEN, encoder="sst"), (1, 48, 64))
    assert not named.skip


@pytest.mark.parametrize(
    ("change", "shape", "expected"),
    [
        ({}, (1, 96, 64), {"sst_filters": 16, "code_size_s": 64, "code_size_t": 32, "res_hidden_size": 64}),
        ({"sst_filters": 8, "code_size_t": 5}, (1, 96, 64), {"sst_filters": 8, "code_size_t": 5, "code_size_s": 64}),
        ({}, (1, 64, 64), {"enc_hidden_size": 16, "dec_hidden_size": 16, "code_size_s": 128, "res_hidden_size": 512}),
        ({"code_size_s": 196}, (1, 48, 48), {"code_size_s": 196, "code_size_t": 32}),
        ({"enc_hidden_size": 64}, (1, 64, 64), {"enc_hidden_size": 64, "dec_hidden_size": 64}),
        ({"dec_hidden_size": 9}, (1, 64, 64), {"enc_hidden_size": 9, "dec_hidden_size": 9}),
        ({"mixing": "mul"}, (1, 64, 64), {"enc_hidden_size": 16, "code_size_s": 20, "code_size_t": 20}),
        ({"encoder": "sst"}, (1, 96, 64), {"sst_filters": 64, "code_size_s": 196, "res_hidden_size": 512}),
        ({}, (1, 30), {"enc_hidden_size": 1200, "dec_hidden_size": 1200}),
    ],
)
def test_networks_that_were_picked_are_narrow_on_a_cpu(change, shape, expected):
    picked, line = settle(replace(OPEN, **change), shape, narrow=True)
    assert {name: getattr(picked, name) for name in expected} == expected
    with torch.device("meta"):
        SeparableModel(picked)
    assert ("for a CPU" in line) == ("encoder" not in change and len(shape) > 2)


@pytest.mark.parametrize(
    ("change", "shape", "skip"),
    [
        ({}, (1, 64, 64), True),
        ({}, (1, 30), False),
        ({"no_s": True}, (1, 64, 64), False),
        ({"enc_hidden_size": 8, "dec_hidden_size": 9}, (1, 64, 64), False),
        ({"enc_hidden_size": 8, "dec_hidden_size": 9}, (1, 48, 64), True),  # which sst does not read
    ],
)
def test_networks_of_images_that_were_picked_skip_where_there_is_what_to_skip_from(change, shape, skip):
    picked, _ = settle(replace(OPEN, **change), shape)
    assert picked.skip == skip
    with torch.device("meta"):
        SeparableModel(picked)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"code_size_t": 7, "enc_hidden_size": 9}, {"dec_hidden_size": 9, "code_size_s": 128}),
        ({"sst_filters": 5, "res_hidden_size": 7}, {"n_blocks": 1}),
        ({"nt_cond": 3}, {"offset": 3}),
        ({"encoder": "vgg"}, {"decoder": "vgg"}),
        ({"encoder": "resnet"}, {"decoder": "dcgan", "code_size_t": 10}),
        ({"decoder": "vgg"}, {"encoder": "vgg"}),
        ({"encoder": "mlp", "decoder": "dcgan"}, {"enc_hidden_size": 1200, "dec_hidden_size": 64, "mixing": "mul"}),
        ({"mixing": "mul"}, {"code_size_s": 20, "code_size_t": 20}),
        ({"mixing": "mul", "code_size_s": 9}, {"code_size_s": 9, "code_size_t": 9}),
        ({"encoder": "mlp", "code_size_s": 9, "code_size_t": 8}, {"mixing": "concat"}),
        ({"encoder": "mlp", "code_size_t": 8}, {"mixing": "mul", "code_size_s": 8}),
        ({"no_s": True}, {"mixing": "mul", "code_size_s": 20, "code_size_t": 20}),
        ({"last_activation": "sigmoid"}, {"last_activation": "sigmoid"}),
    ],
)
def test_what_is_given_stays(given, expected):
    config, _ = settle(replace(OPEN, **given), (1, 64, 64))
    assert {name: getattr(config, name) for name in {**given, **expected}} == {**given, **expected}
    assert not config.left_open
    with torch.device("meta"):
        SeparableModel(config)


def test_resnet_without_a_power_of_two_is_decoded_by_an_mlp():
    assert settle(replace(OPEN, encoder="resnet"), (1, 40, 60))[0].decoder == "mlp"


@pytest.mark.parametrize(
    ("given", "shape", "message"),
    [
        ({}, (1, 50, 70), r"sst encoder .* not 50x70 \(the nearest are 48x68 and 52x72\)"),
        ({"encoder": "dcgan"}, (1, 100), "dcgan encoder .* not 100 points"),
        ({"no_s": True}, (1, 96, 64), "sst networks, given or picked .* set --mixing concat and do without --no-s"),
        ({"mixing": "mul"}, (1, 96, 64), "sst networks, given or picked"),
        ({"mixing": "mul", "encoder": "sst"}, (1, 64, 64), "sst networks, given or picked"),
        ({"shape": (1, 64, 64)}, (1, 32, 32), "frames are 1x32x32, the model takes 1x64x64: leave out --shape"),
        ({"shape": (1, 9), "encoder": "mlp", "decoder": "mlp"}, (1, 4, 4), "set --shape 1 4 4, or --encoder auto"),
        ({"shape": (1, 64, 64), "encoder": "vgg", "decoder": "vgg"}, (1, 100), "takes 1x64x64: set --encoder auto"),
    ],
)
@pytest.mark.parametrize("narrow", [False, True])
def test_frames_that_do_not_fit_are_refused(narrow, given, shape, message):
    with pytest.raises(UserError, match=message):
        settle(replace(OPEN, **given), shape, narrow)


def test_a_network_that_there_is_not_is_never_taken_for_another():
    config = ModelConfig()
    object.__setattr__(config, "encoder", "fourier")  # which the settings themselves would refuse
    object.__setattr__(config, "decoder", "fourier")
    for ask in (lambda: config.can_skip, lambda: settle(config, (1, 64, 64)), lambda: single_valued("fourier", (64,))):
        with pytest.raises(ValueError, match="there is no network fourier"):
            ask()


def test_a_run_is_told_of_other_frames():
    require_shape(ModelConfig(), (1, 64, 64))
    with pytest.raises(UserError, match=r"are 1x32x32, the run's model takes 1x64x64: give the data it was trained on"):
        require_shape(ModelConfig(), (1, 32, 32))


def test_a_model_with_open_settings_is_refused():
    with pytest.raises(UserError, match=r"settle --shape, --encoder, .* with fastsep\.model_auto"):
        SeparableModel(OPEN)


def test_open_settings_outlive_a_file():
    config = replace(PRESETS["wave"](), model=OPEN)
    assert from_json(to_json(config)).model == OPEN


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_leave_nothing_open_and_reopen_what_is_theirs(preset):
    model = PRESETS[preset]().model
    assert not model.left_open
    reopened = replace(model, encoder="auto").reopened(["code_size_t"])
    assert set(reopened.left_open) == set(LEFT_OPEN) - {"last_activation", "code_size_t"}


@pytest.mark.parametrize("kind", ["mlp", "dcgan", "vgg", "resnet", "sst"])
@pytest.mark.parametrize("space", [(16, 16), (1, 1), (17, 31), (64, 64), (48, 128), (255, 256), (257, 300), (3, 200)])
def test_padding_is_the_least_that_fits(kind, space):
    sizes = nearest(kind, space)
    assert all(fits(kind, size) for size in sizes)
    assert fits(kind, space) == (kind == "mlp" or sizes == [space, space])
    if kind in ("dcgan", "vgg") and max(space) > 256:
        with pytest.raises(UserError, match=f"the {kind} takes square frames .* choose another network"):
            padding_for(kind, space)
        return
    padding = padding_for(kind, space)
    padded = tuple(size + extra for size, extra in zip(space, padding, strict=True))
    assert min(padding) >= 0 and fits(kind, padded)
    smaller = [(h, w) for h in range(space[0], padded[0] + 1) for w in range(space[1], padded[1] + 1)]
    assert not any(fits(kind, size) for size in smaller if prod(size) < prod(padded))


def test_points_are_not_padded():
    assert padding_for("mlp", (7,)) == (0,)
    with pytest.raises(UserError, match=r"the sst takes frames whose .* not 7 points"):
        padding_for("sst", (7,))
