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
}
