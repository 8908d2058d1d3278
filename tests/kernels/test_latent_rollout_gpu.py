"""Rollouts by every kernel on a GPU at real shapes: accuracy, repeatability, capture, streams, compilation."""

from __future__ import annotations

import pytest
import torch
from rollout_cases import make
from torch import library

from kernels.latent_rollout import reference, rollout
from kernels.latent_rollout.cluster.variant import supported

pytest.importorskip("triton")

from kernels.latent_rollout import candidates, configs, launch

pytestmark = pytest.mark.gpu

SHAPES = [  # B, L, H, blocks, steps
    (128, 32, 512, 3, 25),  # wave training
    (16, 20, 512, 1, 15),  # mnist training
    (1, 20, 512, 1, 100),
    (5, 64, 512, 4, 7),
    (33, 20, 336, 2, 15),
    (128, 64, 1024, 1, 15),
    (300, 32, 512, 3, 15),  # more programs than are resident: the stationary kernel gives way
    (3, 20, 64, 1, 1),
]
BACKENDS = ["streaming", "stationary", "cluster8", "cluster16"]


def takes(backend, shape, dtype=torch.bfloat16):
    """Whether a kernel takes a shape here; the Triton ones give way to one another."""
    if not backend.startswith("cluster"):
        return True
    if torch.cuda.get_device_capability()[0] < 9:
        return False
    _, latent, width, blocks, _ = shape
    return supported(latent, width, blocks, dtype, launch.device_limits(0)[1])


def skip_unless_taken(backend, shape):
    if not takes(backend, shape):
        pytest.skip("no clusters here, or not this shape")


def on_gpu(shape, dtype=torch.float64):
    """T_0, weights and a cotangent, float32 numbers in whatever dtype."""
    batch, latent, width, blocks, steps = shape
    t0, weights = make(batch, latent, width, blocks)
    with torch.no_grad():
        for w3 in weights[4::6]:
            w3 *= min(1.0, 30 / steps)  # the state of a long rollout stays in float16's range
    to = [t.detach().float().to("cuda", dtype) for t in (t0, *weights)]
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(steps, batch, latent, generator=generator).to("cuda", dtype)
    return to[0].requires_grad_(), [w.requires_grad_() for w in to[1:]], target


def run(t0, weights, target, **options):
    out = rollout(t0, weights, target.shape[0], **options)
    grads = torch.autograd.grad((out * target).sum(), [t0, *weights], allow_unused=True, materialize_grads=True)
    return [out.detach(), *grads]


def distance(a, b):
    """RMS distance, NaN where anything is."""
    return (a.double() - b.double()).square().mean().sqrt().item()


@pytest.fixture(autouse=True)
def full_precision_products():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def errors_of_plain(shape, dtype, exact):
    """The largest error of each result of plain PyTorch, over roundings of T_0 that are as good as any other.

    A rounding that puts a hidden unit on the other side of zero moves gradients by far more than its size. In float32
    that happens once or twice in a whole rollout, so that a single run would say little about what to expect.
    """
    t0, weights, target = on_gpu(shape, torch.float32)
    worst = [0.0] * len(exact)
    for k in range(5):
        noise = torch.randn(t0.shape, generator=torch.Generator().manual_seed(k)).cuda()
        start = (t0 * (1 + k * 6e-8 * noise)).detach().requires_grad_()
        found = run(start, weights, target, backend="autograd", dtype=dtype)
        worst = [max(w, distance(f, e)) for w, f, e in zip(worst, found, exact, strict=True)]
    return worst


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_error_is_at_most_twice_that_of_plain_pytorch(shape, dtype):
    exact = run(*on_gpu(shape), backend="autograd")
    plain = errors_of_plain(shape, dtype, exact)
    t0, weights, target = on_gpu(shape, torch.float32)
    # A sum of H terms one after another in float32, as the kernels add them; the library's sums are blocked.
    accumulation = 2.0**-24 * shape[2] ** 0.5
    for backend in BACKENDS:
        if not takes(backend, shape, dtype):
            continue
        found = run(t0, weights, target, backend=backend, dtype=dtype)
        for k, (value, by_plain, wanted) in enumerate(zip(found, plain, exact, strict=True)):
            scale = wanted.square().mean().sqrt().item()
            allowed = 2 * by_plain + accumulation * scale
            assert distance(value, wanted) <= allowed, f"{backend}: {k} of output, t0, weights"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(128, 32, 512, 3, 25), (16, 20, 512, 1, 15)], ids=str)
def test_a_hundred_repeats_are_bit_equal(shape, backend):
    skip_unless_taken(backend, shape)
    t0, weights, target = on_gpu(shape, torch.float32)
    first = run(t0, weights, target, backend=backend, dtype=torch.bfloat16)
    for _ in range(100):
        # Other values in recycled memory would show an element that is read before it is written.
        junk = torch.full((1 << 20,), float("nan"), device="cuda")
        del junk
        again = run(t0, weights, target, backend=backend, dtype=torch.bfloat16)
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))


@pytest.mark.parametrize("slices", [8, 16, 32])
def test_any_number_of_slices_gives_the_same_rollout(slices):
    t0, weights, target = on_gpu((64, 32, 512, 3, 25), torch.float32)
    blocks = reference.stack_blocks(weights, torch.bfloat16)
    config = configs.Stationary(slices=slices, warps=8)
    if not configs.stationary_takes(config, launch.describe(t0, blocks, adjoint=False)):
        pytest.skip("its programs cannot all be resident here")
    plain = reference.trajectory(t0.detach(), blocks, 25)
    hidden = reference.hidden_states(plain, blocks)
    found = launch.forward(t0.detach(), blocks, 25, config, keep=True)
    found += launch.recursion(target, *hidden[1:], blocks, config)
    expected = (plain, *hidden[1:], *reference.recursion(target, hidden, blocks))
    for value, wanted in zip(found, expected, strict=True):
        assert distance(value, wanted) < 0.02 * wanted.double().square().mean().sqrt().item()


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_capture_and_replay(backend):
    shape = (128, 32, 512, 3, 25)
    skip_unless_taken(backend, shape)
    t0, weights, target = on_gpu(shape, torch.float32)

    def step():
        return run(t0, weights, target, backend=backend, dtype=torch.bfloat16)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for scale in (1.0, 0.5, -2.0):
        with torch.no_grad():
            t0.mul_(scale)
        for _ in range(10):
            graph.replay()
        expected = step()
        assert torch.equal(captured[0], expected[0])
        for value, wanted in zip(captured, expected, strict=True):  # the library may cut its products otherwise
            assert distance(value, wanted) <= 1e-3 * wanted.square().mean().sqrt().item()


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_streams_at_once(backend):
    shape = (128, 32, 512, 3, 25)
    skip_unless_taken(backend, shape)
    t0, weights, target = on_gpu(shape, torch.float32)
    alone = run(t0, weights, target, backend=backend, dtype=torch.bfloat16)
    torch.cuda.synchronize()
    streams, results = [torch.cuda.Stream() for _ in range(2)], []
    for _ in range(20):
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(run(t0, weights, target, backend=backend, dtype=torch.bfloat16))
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for found in results for a, b in zip(found, alone, strict=True))


@pytest.mark.parametrize("shape", [(128, 32, 512, 3, 25), (5, 20, 64, 4, 7), (33, 64, 320, 1, 3), (7, 10, 128, 2, 1)])
def test_weight_gradients_are_products_in_float32(shape):
    batch, latent, width, blocks, steps = shape
    rows = (steps - 1) * batch
    generator = torch.Generator("cuda").manual_seed(0)
    latents, adjoints = torch.randn(2, blocks * (steps - 1) + 1, batch, latent, device="cuda", generator=generator)
    h1, h2, dz1, dz2 = torch.randn(4, blocks, rows, width, device="cuda", generator=generator).bfloat16()
    t = reference.by_block(latents[:-1], blocks).bfloat16()
    wide = reference.Hidden(t.double(), h1.double(), h2.double())
    exact = reference.weight_gradients(adjoints.double(), wide, dz1.double(), dz2.double())
    g = reference.by_block(adjoints[1:], blocks).bfloat16()
    exact = exact._replace(w3=g.mT.double() @ h2.double())  # an operand as any other
    for tile in (64, 128):
        if width % tile == 0:
            found = launch.weight_gradients(latents, adjoints, h1, h2, dz1, dz2, torch.float32, tile)
            for value, wanted in zip(found, exact, strict=True):
                assert value.shape == wanted.shape
                assert distance(value, wanted) <= 1e-6 * max(rows, 1) ** 0.5 * wanted.square().mean().sqrt().item()


def test_the_choice_is_verified_and_timed():
    from kernels.choose.measure import judge

    shape = {"batch": 128, "steps": 25, "latent": 32, "width": 512, "blocks": 3, "dtype": torch.bfloat16}
    for direction in ("forward", "forward+backward"):
        verdict = judge(candidates.make_task(direction, torch.device("cuda", 0), **shape), torch.device("cuda", 0))
        print(direction, verdict)
        assert not verdict.out
        assert verdict.use != "adjoint"


def test_compiles_as_one_graph_under_autocast():
    t0, weights, target = on_gpu((128, 32, 512, 3, 5), torch.float32)

    def loss(t0, *weights):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return (rollout(t0, weights, 5) * target).sum()

    compiled = torch.compile(loss, fullgraph=True)
    expected = torch.autograd.grad(loss(t0, *weights), [t0, *weights])
    found = torch.autograd.grad(compiled(t0, *weights), [t0, *weights])
    for value, wanted in zip(found, expected, strict=True):
        assert distance(value, wanted) < 1e-3 * wanted.square().mean().sqrt().item()


def test_opcheck():
    t0, weights, target = on_gpu((5, 20, 64, 2, 4), torch.float32)
    t0, weights = t0.detach(), [w.detach() for w in weights]
    stacks = torch.ops.fastsep.latent_rollout_blocks(weights, torch.bfloat16)
    for backend in ("adjoint", "streaming", "stationary"):
        arguments = (t0, stacks, 4, backend, True)
        library.opcheck(torch.ops.fastsep.latent_rollout, arguments)
        saved = torch.ops.fastsep.latent_rollout(*arguments)
        arguments = (*saved, target, stacks, torch.float32, backend)
        library.opcheck(torch.ops.fastsep.latent_rollout_backward, arguments)


def test_an_unsupported_shape_runs_on_plain_products_unless_a_kernel_is_asked_for():
    t0, weights, target = on_gpu((4, 80, 64, 1, 3), torch.float32)
    expected = run(t0, weights, target, backend="adjoint")
    assert all(torch.equal(a, b) for a, b in zip(run(t0, weights, target), expected, strict=True))
    with pytest.raises(ValueError, match="no Triton kernel takes"):
        rollout(t0, weights, 3, backend="streaming")


def test_inputs_need_not_be_contiguous():
    t0, weights, _ = on_gpu((16, 20, 512, 1, 3), torch.float32)
    strided = torch.stack([t0.detach()] * 2, dim=2)[:, :, 0]
    transposed = [w.detach().T.contiguous().T if w.dim() == 2 else w.detach() for w in weights]
    for backend in BACKENDS:
        if not takes(backend, (16, 20, 512, 1, 3)):
            continue
        expected = rollout(t0, weights, 3, backend=backend, dtype=torch.float16)
        assert torch.equal(rollout(strided, transposed, 3, backend=backend, dtype=torch.float16), expected)
