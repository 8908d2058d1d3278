"""How the weights start (paper, appendix)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor, nn

from fastsep.networks.convolutions import CodeConvTranspose2d


def init_weights(
    encoders_and_decoder: Iterable[nn.Module], integrator: nn.Module, gain: float, kind: str = "published"
) -> None:
    """Initialise all networks in place; biases are zero.

    Encoders and decoder: weights N(0, 0.02), batch-norm scales N(1, 0.02). Integrator: weights orthogonal with
    ``gain``, batch-norm scales (of the SST networks) N(1, gain), as in the published code, where one number is both.

    N(0, 0.02) lets the signal of a narrow decoder fade from layer to layer; with ``kind`` "kaiming" (He et al., 2015)
    the weights of encoders and decoder keep its variance instead.
    """
    if kind not in ("published", "kaiming"):
        raise ValueError(f"there is no initialisation {kind}, but published and kaiming")
    for root in encoders_and_decoder:
        for module in root.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                if kind == "kaiming":
                    _keep_variance(module)
                else:
                    nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)
    for module in integrator.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.orthogonal_(module.weight, gain)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)


def _keep_variance(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Weights such that a value that is computed of ReLUs varies as they do: uniform, within sqrt(6 / values added)."""
    if not isinstance(module, nn.ConvTranspose2d):
        return nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    # Of a transposed convolution's kernel each pixel meets one weight in stride x stride; of a code, a 1x1 image, one.
    added = module.in_channels
    if not isinstance(module, CodeConvTranspose2d):
        added *= math.prod(module.kernel_size) / math.prod(module.stride)
    bound = math.sqrt(6 / added)
    return nn.init.uniform_(module.weight, -bound, bound)
