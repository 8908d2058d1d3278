"""Run by test_thin_conv.py in a process of its own: the Triton kernels interpreted, against the definitions."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import Tensor, library

from kernels.thin_conv import cuts, norm_exit, op
from kernels.thin_conv.joined import _NormExit

FLOOR = {torch.float32: 2e-6, torch.float16: 2e-3}
# images, input channels, height, width, output channels, kernel, stride, padding, slope, bias
ENTRIES = [
    (2, 3, 5, 7, 20, 3, 1, 1, 1.0, False), (1, 5, 8, 6, 64, 4, 2, 1, 0.2, True), (2, 15, 5, 7, 20, 5, 2, 3, 0.2, True)
]  # fmt: skip
# images, input channels, height, width, output channels, transposed, stride
EXITS = [(2, 20, 5, 7, 3, True, 2), (1, 64, 6, 8, 1, True, 2), (2, 3, 5, 7, 2, True, 1), (16, 20, 5, 7, 1, False, 1)]


def compare(names: str, found: list[Tensor], truth: list[Tensor], dtype: torch.dtype) -> None:
    for name, ours, true in zip(names.split(), found, truth, strict=True):
        assert ours.shape == true.shape, (name, ours.shape, true.shape)
        error = (ours.double() - true.double()).norm() / true.double().norm()
        assert error <= FLOOR[dtype], (name, error, dtype)


def check_entry(case: tuple, dtype: torch.dtype, forward: str, backward: str) -> None:
    n, c, h, w, f, k, stride, padding, slope, has_bias = case
    torch.manual_seed(0)
    x = torch.rand(h, w, n, c).permute(2, 3, 0, 1)  # frames in whatever layout
    weight = (torch.randn(f, c, k, k) * 0.2).contiguous(memory_format=torch.channels_last)
    bias = torch.randn(f) if has_bias else None
    leaves = [t.requires_grad_() for t in (weight, bias) if t is not None]
    y = op._Entry.apply(x, weight, bias, stride, padding, slope, dtype, forward, backward)
    assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last)
    exact = [x.to(dtype).double(), weight.detach().to(dtype).double().requires_grad_()]
    if has_bias:
        exact.append(bias.detach().double().requires_grad_())
    truth = op.thin_entry(
        exact[0], exact[1], exact[2] if has_bias else None, stride=stride, padding=padding, slope=slope
    )
    grad = torch.randn(truth.shape).to(dtype)
    grads = [
        torch.autograd.grad(result, tensors, grad.to(result.dtype))
        for result, tensors in ((y, leaves), (truth, exact[1:]))
    ]
    assert grads[0][0].stride() == weight.stride() and grads[0][0].dtype == torch.float32
    compare("y weight bias" if has_bias else "y weight", [y, *grads[0]], [truth, *grads[1]], dtype)


def check_exit(case: tuple, dtype: torch.dtype, forward: str, backward: str) -> None:
    n, c, h, w, f, transposed, stride = case
    torch.manual_seed(0)
    side = 4 if stride == 2 else 3
    x = torch.randn(n, c, h, w).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(*((c, f) if transposed else (f, c)), side, side, requires_grad=True)
    bias = torch.randn(f, requires_grad=True)
    y = op._Exit.apply(x, weight, bias, transposed, stride, forward, backward)
    assert y.dtype == torch.float32 and y.is_contiguous()
    exact = [t.detach().double().requires_grad_() for t in (x, weight.to(dtype), bias)]
    truth = op.thin_exit(*exact, transposed=transposed, stride=stride)
    grad = torch.randn(truth.shape)
    grads = [
        torch.autograd.grad(result, tensors, grad.to(result.dtype))
        for result, tensors in ((y, [x, weight, bias]), (truth, exact))
    ]
    assert grads[0][0].dtype == dtype
    compare("y x weight bias", [y, *grads[0]], [truth, *grads[1]], dtype)


def check_rounding(case: tuple) -> None:
    """Terms are rounded before they are added; the library rounds its sum, and again behind the bias."""
    n, c, h, w, f, transposed, stride = case
    torch.manual_seed(0)
    side = 4 if stride == 2 else 3
    x, weight = torch.randn(n, c, h, w), torch.randn(*((c, f) if transposed else (f, c)), side, side) * (9 * c) ** -0.5
    x, weight = x.half().contiguous(memory_format=torch.channels_last), weight.half().float()
    truth = op.thin_exit(x.double(), weight.double(), transposed=transposed, stride=stride)
    y = torch.ops.fastsep.thin_exit(x, weight, None, transposed, stride, "triton product 64")
    assert (y - truth).norm() <= 1.2 * (truth.half() - truth).norm(), case


def check_half_gradients(case: tuple) -> None:
    """What a compiler has rounded in passing, the kernels need not round: derivatives are the same, and in float32."""
    n, c, h, w, f, transposed, stride = case
    torch.manual_seed(0)
    side = 4 if stride == 2 else 3
    x = torch.randn(2 * n, c, h, w).half().contiguous(memory_format=torch.channels_last)
    weight = torch.randn(*((c, f) if transposed else (f, c)), side, side)
    grad = torch.randn(2 * n, f, stride * h, stride * w).half()
    stats, settings = torch.rand(4, 2, c) + 0.5, (2, 1e-5, 0.2, transposed, stride, "together product 64 / 32")
    found = []
    for given in (grad, grad.float()):
        alone = torch.ops.fastsep.thin_exit_backward(given, x, weight, transposed, stride, "triton 32")
        found.append([*alone, *torch.ops.fastsep.norm_exit_backward(given, x, stats, weight, *settings)])
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def check_norm_exit(case: tuple, dtype: torch.dtype, calls: int, way: str) -> None:
    n, c, h, w, f, transposed, stride = case
    torch.manual_seed(0)
    side = 4 if stride == 2 else 3
    x = (torch.randn(n * calls, c, h, w) * 2 + 1).to(dtype).contiguous(memory_format=torch.channels_last)
    norm_weight, norm_bias, conv_bias, bias = torch.rand(c) + 0.5, torch.randn(c), torch.randn(c), torch.randn(f)
    weight = torch.randn(*((c, f) if transposed else (f, c)), side, side).to(dtype).float()
    grad = torch.randn(n * calls, f, stride * h, stride * w)
    results = []
    for exact in (False, True):
        leaves = [t.double() if exact else t for t in (x, norm_weight, norm_bias, weight, bias)]
        leaves = [t.detach().requires_grad_() for t in leaves]
        running = [torch.zeros(c, dtype=leaves[1].dtype), torch.ones(c, dtype=leaves[1].dtype)]
        if exact:
            settings = {"slope": 0.2, "conv_bias": conv_bias.double(), "transposed": transposed, "stride": stride}
            y = norm_exit(*leaves[:3], *running, *leaves[3:], calls, **settings)
        else:
            settings = calls, 0.1, 1e-5, 0.2, transposed, stride, way
            y = _NormExit.apply(*leaves[:3], *running, conv_bias, *leaves[3:], *settings)
        results.append([y, *running, *torch.autograd.grad(y, leaves, grad.to(y.dtype))])
    compare("y running_mean running_var x norm_weight norm_bias weight bias", *results, dtype)


def check_ops() -> None:
    """Schemas, fakes and aliasing are right for each way, and the functions trace as part of one graph."""
    x, weight, bias = torch.rand(2, 3, 5, 6), torch.randn(16, 3, 3, 3), torch.randn(16)
    for way in ("library", "padded", "triton 64x32"):
        library.opcheck(torch.ops.fastsep.thin_entry, (x, None, weight, bias, 1, 1, 0.2, torch.float32, way))
    y = torch.ops.fastsep.thin_entry(x, None, weight, bias, 1, 1, 0.2, torch.float32, "library")
    for way, has_bias in (("library", True), ("padded", False), ("triton 64x64", True), ("triton 64x64", False)):
        rest = 1, 1, 0.2, has_bias, way
        library.opcheck(torch.ops.fastsep.thin_entry_backward, (torch.randn_like(y), x, None, y, weight, *rest))
    library.opcheck(torch.ops.fastsep.pad_frames, (x, 1, torch.float32))
    padded = torch.ops.fastsep.pad_frames(x, 1, torch.float32)
    way = "triton 64x64"
    library.opcheck(torch.ops.fastsep.thin_entry, (x, padded, weight, bias, 1, 1, 0.2, torch.float32, "triton 64x32"))
    library.opcheck(
        torch.ops.fastsep.thin_entry_backward, (torch.randn_like(y), None, padded, y, weight, 1, 1, 0.2, True, way)
    )
    out, out_bias = torch.randn(16, 2, 4, 4), torch.randn(2)
    for way in ("library", "padded", "triton product 64"):
        library.opcheck(torch.ops.fastsep.thin_exit, (y, out, out_bias, True, 2, way))
    frames = torch.ops.fastsep.thin_exit(y, out, out_bias, True, 2, "library")
    for way in ("library", "padded", "triton 32"):
        library.opcheck(torch.ops.fastsep.thin_exit_backward, (torch.randn_like(frames), y, out, True, 2, way))
    low = torch.randn(4, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    state, rest = [torch.ones(16) for _ in range(4)], (2, 0.1, 1e-5, 0.2, True, 2, "together product 64 / 32")
    library.opcheck(torch.ops.fastsep.norm_exit, (low, *state, bias, out, out_bias, *rest))
    frames, stats = torch.ops.fastsep.norm_exit(low, *state, bias, out, out_bias, *rest)
    library.opcheck(torch.ops.fastsep.norm_exit_backward, (torch.randn_like(frames), low, stats, out, 2, *rest[2:]))

    def loss(x: Tensor, weight: Tensor, out: Tensor) -> Tensor:
        y = op._Entry.apply(x, weight, bias, 1, 1, 0.2, torch.float32, "triton 64x32", "triton 64x64")
        return op._Exit.apply(y, out, None, True, 2, "triton product 64", "triton 32").square().sum()

    results = []
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        leaves = [weight.clone().requires_grad_(), out.clone().requires_grad_()]
        results.append(torch.autograd.grad(function(x, *leaves), leaves))
    torch.testing.assert_close(*results)


def main() -> None:
    check_ops()
    # No bfloat16: the interpreter's products of it are wrong.
    for dtype in (torch.float32, torch.float16):
        # In the half type one case of each is enough: it is there for the casts.
        for case in ENTRIES if dtype == torch.float32 else ENTRIES[1:2]:
            check_entry(case, dtype, "triton 64x32", "triton 64x64")
        for ways in (("triton 64x32", "padded"), ("library", "triton 64x64")):  # each pads for itself
            check_entry(ENTRIES[0], dtype, *ways)
        for case in EXITS if dtype == torch.float32 else EXITS[:1]:
            check_exit(case, dtype, "triton product 64", "triton 32")
    for case in EXITS:
        check_rounding(case)
    for case in EXITS[:3]:
        check_half_gradients(case)
    for calls, case in ((3, EXITS[0]), (1, EXITS[1]), (2, EXITS[2]), (2, EXITS[3])):
        check_norm_exit(case, torch.float32, calls, "together product 64 / 32")
    check_norm_exit(EXITS[0], torch.float16, 2, "together product 256 / 64")
    for forward, backward in zip(cuts.ENTRY, cuts.ENTRY_WEIGHTS, strict=True):
        check_entry(ENTRIES[1], torch.float32, f"triton {forward}", f"triton {backward}")
    for forward, backward in zip_longest(cuts.EXIT, cuts.EXIT_GRADIENTS, fillvalue="product 128"):
        check_exit(EXITS[0], torch.float32, f"triton {forward}", f"triton {backward}")


if __name__ == "__main__":
    main()
