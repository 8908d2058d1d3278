"""Ops are themselves in compiled code, and plain PyTorch in exported programs alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from kernels.doubled_conv import doubled_conv
from kernels.latent_rollout import rollout


class Rollout(nn.Module):
    """Two steps of one residual block."""

    def __init__(self):
        super().__init__()
        shapes = ((8, 4), (8,), (8, 8), (8,), (4, 8), (4,))
        self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes)

    def forward(self, t0: Tensor) -> Tensor:
        return rollout(t0, list(self.weights), 3)


class Doubled(nn.Module):
    """A doubled convolution, of a size at which it is folded by itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return doubled_conv(x, self.weight)


def is_op(graph: torch.fx.GraphModule) -> bool:
    return any("fastsep.latent_rollout" in str(node.target) for node in graph.graph.nodes)


def is_folded(graph: torch.fx.GraphModule) -> bool:
    """Whether there is a transposed convolution."""
    return any("convolution" in str(node.target) and node.args[6] is True for node in graph.graph.nodes)


CASES = [(Rollout, (5, 4), is_op), (Doubled, (1, 2, 40, 40), is_folded)]


@pytest.mark.parametrize(("kind", "shape", "is_ours"), CASES, ids=["rollout", "doubled convolution"])
def test_compiled_code_keeps_what_exported_programs_do_without(
    kind: type[nn.Module], shape: tuple[int, ...], is_ours: Callable[[torch.fx.GraphModule], bool]
) -> None:
    graphs = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    module, x = kind().eval().requires_grad_(False), torch.randn(shape)
    compiled = torch.compile(module, backend=aot_autograd(fw_compiler=keep))(x)
    exported = torch.export.export(module, (x,))
    torch.testing.assert_close(exported.module()(x), compiled, rtol=1e-4, atol=1e-4)
    assert is_ours(graphs[0])
    assert not is_ours(exported.run_decompositions().graph_module)
