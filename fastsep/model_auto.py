"""What ``auto`` and none mean in the settings of a model: the networks of a run by the frames of its data.

The shape of a frame is that of the data, ``auto`` picks a network by it, and what comes along with a network is as in
the published preset that uses it (mlp: wave, dcgan: mnist, vgg: taxibj, resnet: chairs, sst: sst). What is given stays.

Letters: C channels; ``*space`` the other axes of a frame, (H, W) for images, (P,) for points.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fastsep.errors import UserError
from fastsep.model_config import ModelConfig
from fastsep.network_kinds import DECODERS, kind_of
from fastsep.networks.sizes import fits, require_fit, written

FEW_VALUES = 1024
"""Frames of so many values at most are for an mlp."""


def pick(shape: tuple[int, ...]) -> tuple[str, str]:
    """The network for frames of ``shape`` (C, *space), and why.

    Points and small frames go to an mlp, squares of a power of two to dcgan, and all others to sst, which takes heights
    and widths divisible by 4 (``padding_for`` says what others lack).
    """
    space = shape[1:]
    if len(space) == 1:
        return "mlp", "they are points"
    if math.prod(shape) <= FEW_VALUES:
        return "mlp", f"they hold at most {FEW_VALUES:,} values"
    if fits("dcgan", space):
        return "dcgan", "they are squares of a power of two"
    return "sst", f"they hold more than {FEW_VALUES:,} values and are no squares of a power of two from 16 to 256"


def settle(config: ModelConfig, shape: tuple[int, ...], narrow: bool = False) -> tuple[ModelConfig, str]:
    """The settings with all that they leave open settled for frames of ``shape``, (C, *space).

    Args:
        narrow: convolutional networks that are picked here get a quarter of the published width or less where it is
            left open, so that a CPU trains them in an hour, not in weeks.

    Returns:
        The settings, and a line that says which network was picked and why; "" where none was.

    Raises:
        UserError: the settings are for frames of another shape, or for a network that does not take these.
    """
    shape = tuple(shape)
    if config.shape and config.shape != shape:
        raise UserError(
            f"the data's frames are {written(shape)}, the model takes {written(config.shape)}: {_remedy(config, shape)}"
        )
    encoder, decoder, why = networks_for(config, shape)
    for role, kind in (("encoder", encoder), ("decoder", decoder)):
        require_fit(role, kind, shape[1:])
    if not config.left_open:
        return config, ""
    usual = {"offset": config.nt_cond, **_usual(encoder, decoder)}
    if narrow and config.encoder == config.decoder == "auto":
        narrower = kind_of(encoder).narrow
        usual |= narrower
        if any(name in config.left_open for name in narrower):
            why += f"; narrow ones, for a CPU (--encoder {encoder} takes the published widths)"
    usual |= {"shape": shape, "encoder": encoder, "decoder": decoder, **_mixing(config, usual)}
    if encoder == decoder and kind_of(encoder).skips:  # of one width, if one of them is given
        width = config.enc_hidden_size or config.dec_hidden_size or usual["enc_hidden_size"]
        usual |= {"enc_hidden_size": width, "dec_hidden_size": width}
    settled = replace(config, **{name: usual[name] for name in config.left_open})
    # Published scores of sst are best with it, and made data's with dcgan by a quarter.
    if config.encoder == "auto" and not settled.no_s and settled.can_skip:
        settled = replace(settled, skip=True)
    names = f"{encoder} encoder and " + ("decoder" if encoder == decoder else f"{decoder} decoder")
    return settled, f"frames of {written(shape)}: {names}, since {why}" if why else ""


def require_shape(config: ModelConfig, shape: tuple[int, ...]) -> None:
    """Raise ``UserError`` unless the model of a run takes frames of ``shape``, (C, *space)."""
    if config.shape != tuple(shape):
        raise UserError(
            f"the data's frames are {written(shape)}, the run's model takes {written(config.shape)}: "
            "give the data it was trained on"
        )


def networks_for(config: ModelConfig, shape: tuple[int, ...]) -> tuple[str, str, str]:
    """Encoder, decoder, and why if one was picked."""
    encoder, decoder = config.encoder, config.decoder
    if encoder != "auto" and decoder != "auto":
        return encoder, decoder, ""
    if encoder == decoder:
        kind, why = pick(shape)
        return kind, kind, why
    if encoder == "auto":
        return decoder, decoder, f"the decoder is {decoder}"
    if encoder not in DECODERS:
        return encoder, "dcgan" if fits("dcgan", shape[1:]) else "mlp", f"the encoder is {encoder}"
    return encoder, encoder, f"the encoder is {encoder}"


def _usual(encoder: str, decoder: str) -> dict[str, Any]:
    """As in the published preset of the networks."""
    ours, theirs = kind_of(encoder), kind_of(decoder)
    return {
        "enc_hidden_size": ours.hidden_size, "enc_n_layers": ours.enc_n_layers,
        "dec_hidden_size": theirs.hidden_size, "dec_n_layers": theirs.dec_n_layers,
        "sst_filters": 64, "res_hidden_size": 512, "last_activation": "none", **ours.usual,
    }  # fmt: skip


def _mixing(config: ModelConfig, usual: dict[str, Any]) -> dict[str, Any]:
    """How the codes mix and their sizes; where they are multiplied, an open size becomes equal to the other."""
    size_s, size_t = config.code_size_s, config.code_size_t
    mixing = config.mixing
    if mixing == "auto":
        unequal = None not in (size_s, size_t) and size_s != size_t
        mixing = "mul" if config.no_s or (usual["mixing"] == "mul" and not unequal) else "concat"
    if mixing == "concat":
        return {"mixing": mixing}
    equal = size_s or size_t or usual["code_size_t"]
    return {"mixing": mixing, "code_size_s": equal, "code_size_t": equal}


def _remedy(config: ModelConfig, shape: tuple[int, ...]) -> str:
    """The option to change."""
    if "auto" in (config.encoder, config.decoder):
        return "leave out --shape"
    auto = "--encoder auto"
    if fits(config.encoder, shape[1:]) and fits(config.decoder, shape[1:]):
        return f"set --shape {' '.join(map(str, shape))}, or {auto}"
    return f"set {auto}"
