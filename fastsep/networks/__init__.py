"""The networks by name. Parameters are registered in the order of the authors' modules, so that weights map by order."""

from __future__ import annotations

from torch import nn

from fastsep.config import ModelConfig
from fastsep.networks.integrator import MLPIntegrator
from fastsep.networks.mlp import MLPDecoder, MLPEncoder


def build_encoder(config: ModelConfig, code_size: int, skips: bool = False) -> nn.Module:
    """An encoder of ``nt_cond`` frames to a code of ``code_size``; with ``skips`` it also returns its feature maps."""
    return MLPEncoder(config.shape, config.nt_cond, config.enc_hidden_size, config.enc_n_layers, code_size)


def build_decoder(config: ModelConfig) -> nn.Module:
    """The decoder of mixed codes to frames, before the last activation."""
    return MLPDecoder(
        config.shape, config.mixing, config.code_size_s, config.code_size_t, config.dec_hidden_size, config.dec_n_layers
    )


def build_integrator(config: ModelConfig) -> nn.Module:
    """The integrator of the dynamic code."""
    return MLPIntegrator(config.code_size_t, config.res_hidden_size, config.n_blocks)


def init_weights(encoders_and_decoder: list[nn.Module], integrator: nn.Module, gain: float) -> None:
    """N(0, 0.02) for encoders and decoder, orthogonal with ``gain`` for the integrator, zero biases (model paper, appendix)."""
    for root in encoders_and_decoder:
        for module in root.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)
    for module in integrator.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.orthogonal_(module.weight, gain)
            nn.init.zeros_(module.bias)
