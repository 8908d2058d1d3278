"""Narrow models of every kind of network."""

from __future__ import annotations

from fastsep.config import ModelConfig

NARROW = {"enc_hidden_size": 3, "dec_hidden_size": 3, "nt_cond": 2, "offset": 2}
CONFIGS = {
    "mlp": ModelConfig(shape=(1, 10), encoder="mlp", decoder="mlp", **NARROW),
    "dcgan": ModelConfig(**NARROW),
    "dcgan_skip": ModelConfig(skip=True, **NARROW),
    "dcgan_mul": ModelConfig(mixing="mul", code_size_s=20, **NARROW),
    "vgg64": ModelConfig(encoder="vgg", decoder="vgg", **NARROW),
    "vgg32_skip": ModelConfig(shape=(2, 32, 32), encoder="vgg", decoder="vgg", skip=True, **NARROW),
    "vgg64_mul_skip": ModelConfig(encoder="vgg", decoder="vgg", mixing="mul", code_size_s=20, skip=True, **NARROW),
    "resnet": ModelConfig(shape=(3, 64, 64), encoder="resnet", **NARROW),
    "sst": ModelConfig(shape=(2, 16, 12), encoder="sst", decoder="sst", sst_filters=4, **NARROW),
    "sst_skip": ModelConfig(shape=(2, 16, 12), encoder="sst", decoder="sst", sst_filters=4, skip=True, **NARROW),
}
OTHER_SIZES = {
    "dcgan16_skip": ModelConfig(shape=(5, 16, 16), skip=True, **NARROW),
    "dcgan32": ModelConfig(shape=(1, 32, 32), **NARROW),
    "dcgan128_skip": ModelConfig(shape=(1, 128, 128), skip=True, **NARROW),
    "vgg16": ModelConfig(shape=(1, 16, 16), encoder="vgg", decoder="vgg", **NARROW),
    "vgg16_skip": ModelConfig(shape=(3, 16, 16), encoder="vgg", decoder="vgg", skip=True, **NARROW),
    "vgg128_skip": ModelConfig(shape=(1, 128, 128), encoder="vgg", decoder="vgg", skip=True, **NARROW),
    "resnet_mlp": ModelConfig(shape=(1, 45, 32), encoder="resnet", decoder="mlp", **NARROW),
    "mlp_dcgan": ModelConfig(shape=(2, 16, 16), encoder="mlp", **NARROW),
    "dcgan_vgg": ModelConfig(shape=(2, 32, 32), decoder="vgg", **NARROW),
    "mlp_odd": ModelConfig(shape=(3, 7, 5), encoder="mlp", decoder="mlp", **NARROW),
    "sst_wide": ModelConfig(shape=(3, 8, 28), encoder="sst", decoder="sst", sst_filters=3, skip=True, **NARROW),
    "sst_least": ModelConfig(shape=(7, 4, 4), encoder="sst", decoder="sst", sst_filters=3, **NARROW),
}
"""Sizes, channels and pairs of networks that no preset has."""

SMALL = ModelConfig(
    shape=(1, 9), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
    dec_hidden_size=8, res_hidden_size=16,
)  # fmt: skip
"""Enough for whatever is about runs and their files."""
