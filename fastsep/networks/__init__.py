"""The networks by name (``fastsep.network_kinds`` is their table).

What ``SeparableModel`` calls, for K stacked network calls, B sequences and n conditioning frames:

- encoder: frames (K, B, n, *shape) -> code (K, B, size, ...) and a tuple of skip features (K, B, c, h, w), deepest
  first, () without ``skips``;
- decoder: S (B, s, ...), T (K, B, t, ...) and skip features (B, c, h, w) -> logits (K, B, *shape), each call with the
  same S;
- integrator: T_0 (B, L, ...) and a number of frames -> T_0 and what follows it, (frames, B, L, ...). It is autonomous,
  for forecasts go on from the last T they have, and its state is float32 (float64 for a float64 model).

A stack gives what its calls one after another would: batch norms are ``CallBatchNorm2d``, called with K, and a module's
``NORMS`` names each with the convolution that ``fold_norms`` folds it into. Parameters are registered in the order of
the authors' modules: weights map by order.
"""

from __future__ import annotations

from torch import nn

from fastsep.errors import UserError
from fastsep.model_config import ModelConfig
from fastsep.network_kinds import kind_of
from fastsep.networks.dcgan import DCGANDecoder, DCGANEncoder
from fastsep.networks.fold import fold_norms
from fastsep.networks.init import init_weights
from fastsep.networks.integrator import MLPIntegrator
from fastsep.networks.mlp import MLPDecoder, MLPEncoder
from fastsep.networks.resnet import ResNetEncoder
from fastsep.networks.sizes import require_fit
from fastsep.networks.sst import SSTDecoder, SSTEncoder, SSTIntegrator
from fastsep.networks.vgg import VGGDecoder, VGGEncoder

__all__ = ["build_decoder", "build_encoder", "build_integrator", "fold_norms", "init_weights"]


def build_encoder(config: ModelConfig, code_size: int, skips: bool = False) -> nn.Module:
    """An encoder of ``nt_cond`` frames to a code of ``code_size``; with ``skips`` it also returns its feature maps.

    Raises:
        UserError: the frames or the other networks do not fit the encoder.
        ValueError: there is no such encoder.
    """
    kind = config.encoder
    spatial = [name for name in (kind, config.decoder) if kind_of(name).spatial]
    if spatial and kind != config.decoder:
        raise UserError(f"the {spatial[0]} encoder and decoder share spatial codes: choose both or neither")
    if kind == "mlp":
        return MLPEncoder(config.shape, config.nt_cond, config.enc_hidden_size, config.enc_n_layers, code_size)
    require_fit("encoder", kind, config.shape[1:])
    channels, height, width = config.nt_cond * config.shape[0], *config.shape[1:]
    if kind == "dcgan":
        return DCGANEncoder(channels, height, config.enc_hidden_size, code_size, skips)
    if kind == "vgg":
        return VGGEncoder(channels, height, config.enc_hidden_size, code_size, skips)
    if kind == "sst":
        return SSTEncoder(channels, config.sst_filters, code_size, skips)
    if kind == "resnet":
        return ResNetEncoder(channels, (height, width), code_size)
    raise ValueError(f"there is no encoder {kind}")


def build_decoder(config: ModelConfig) -> nn.Module:
    """The decoder of mixed codes to frames, before the last activation.

    Raises:
        UserError: the frames or the other networks do not fit the decoder.
        ValueError: there is no such decoder.
    """
    kind, codes = config.decoder, (config.code_size_s, config.code_size_t)
    if kind == "mlp":
        return MLPDecoder(config.shape, config.mixing, *codes, config.dec_hidden_size, config.dec_n_layers)
    require_fit("decoder", kind, config.shape[1:])
    if config.skip and not config.can_skip:
        raise UserError(
            f"skip connections need encoder and decoder of one kind and width, not {config.encoder} and {kind} with "
            f"{config.enc_hidden_size} and {config.dec_hidden_size} filters: drop --skip or make them equal"
        )
    channels, size = config.shape[:2]
    if kind == "dcgan":
        return DCGANDecoder(channels, size, config.dec_hidden_size, config.mixing, *codes, config.skip)
    if kind == "vgg":
        return VGGDecoder(channels, size, config.dec_hidden_size, config.mixing, *codes, config.skip)
    if kind == "sst":
        return SSTDecoder(channels, config.sst_filters, *codes, config.skip)
    raise ValueError(f"there is no decoder {kind}")


def build_integrator(config: ModelConfig) -> nn.Module:
    """The integrator of the dynamic code: convolutions for spatial codes, else an MLP."""
    kind = SSTIntegrator if kind_of(config.encoder).spatial else MLPIntegrator
    return kind(config.code_size_t, config.res_hidden_size, config.n_blocks)
