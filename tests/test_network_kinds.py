"""The table of networks is whole, and read without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest

from fastsep.errors import UserError
from fastsep.model_config import ModelConfig
from fastsep.network_kinds import DECODERS, KINDS, Encoder, kind_of
from fastsep.networks.sizes import require_fit


def test_every_name_has_its_row():
    assert tuple(KINDS) == get_args(Encoder)
    assert set(DECODERS) <= set(KINDS)


def test_settings_take_the_names_of_the_table():
    for name in KINDS:
        assert replace(ModelConfig(), encoder=name).encoder == name
    with pytest.raises(UserError, match=r"set --encoder to auto, mlp, dcgan, vgg, resnet or sst$"):
        ModelConfig(encoder="fourier")
    with pytest.raises(UserError, match=r"set --decoder to auto, mlp, dcgan, vgg or sst$"):
        ModelConfig(decoder="resnet")


@pytest.mark.parametrize(
    ("changed", "idle"),
    [
        ({"encoder": "sst", "decoder": "sst", "enc_hidden_size": 32, "sst_filters": 8}, ("enc_hidden_size",)),
        ({"encoder": "mlp", "decoder": "mlp", "enc_hidden_size": 8, "enc_n_layers": 2, "sst_filters": 8}, None),
        ({"encoder": "resnet", "decoder": "dcgan", "enc_hidden_size": 32, "dec_hidden_size": 8}, ("enc_hidden_size",)),
        ({"encoder": "dcgan", "decoder": "mlp", "enc_n_layers": 5, "dec_n_layers": 2}, ("enc_n_layers",)),
        ({"encoder": "vgg", "decoder": "vgg", "enc_hidden_size": 8, "dec_hidden_size": 8, "dec_n_layers": 4}, None),
    ],
)
def test_sizes_that_no_network_has_are_known(changed, idle):
    usual = ModelConfig(dec_n_layers=kind_of(changed["decoder"]).dec_n_layers)
    if changed["decoder"] == "mlp":
        usual = replace(usual, dec_hidden_size=1200)
    if changed["encoder"] == "mlp":
        usual = replace(usual, enc_hidden_size=1200)
    assert replace(usual, **changed).idle == (
        idle or {"mlp": ("sst_filters",), "vgg": ("dec_n_layers",)}[changed["encoder"]]
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dcgan", "square frames of 16, 32, 64, 128 or 256 pixels a side"),
        ("vgg", "square frames of 16, 32, 64, 128 or 256 pixels a side"),
        ("resnet", "frames of at least 32x32 pixels"),
        ("sst", "frames whose height and width are divisible by 4"),
    ],
)
def test_a_misfit_is_told_what_would_fit(kind, words):
    with pytest.raises(UserError, match=f"the {kind} encoder takes {words}, not 3 points: give such"):
        require_fit("encoder", kind, (3,))


def test_settings_and_their_table_are_read_without_torch():
    code = "import sys; sys.modules['torch'] = None; import fastsep.network_kinds, fastsep.presets, fastsep.train"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
