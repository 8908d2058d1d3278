"""Models and operations to time, each in every way it can run: the naive reference, the same compiled, and fastsep.

A way is named ``reference``, ``reference compiled``, ``fastsep``, ``fastsep compiled``, ``fastsep captured``; captured
means one CUDA graph around everything. A step of fastsep on a GPU is tuned as in training: kernels chosen, cuDNN timed.
``untuned`` leaves out both, ``chosen`` the latter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import work
from bench.reference.model import ReferenceModel, ReferenceStep, compile_networks
from bench.reference.networks import DCGANDecoder, ResidualMLP
from bench.rows import Row
from fastsep import distributed
from fastsep.config import Config, ModelConfig
from fastsep.data.windows import TensorWindows, all_starts
from fastsep.machine.precision import autocast, precision_name, resolve_precision
from fastsep.model import SeparableModel
from fastsep.networks import build_decoder, fold_norms
from fastsep.networks.layers import LEAKY_SLOPE, CallBatchNorm2d
from fastsep.presets import PRESETS
from fastsep.training.preparation import build_model
from fastsep.training.step import TrainStep
from fastsep.training.tuning import tune
from fastsep.training.ways import Ways
from kernels.latent_rollout import rollout as fast_rollout

IN_A_GRAPH = 8
"""Rollouts in one graph: a replay then lasts long enough to hide its launch."""
IN_A_ROW = 8
"""Captured steps of a round: nothing in training waits for the device, and the launch of one hides behind another."""
CAPTURES_AFTER = 6
"""Steps after which a ``TrainStep`` has surely recorded its graph."""
BACKENDS = ("autograd", "adjoint", "streaming", "stationary", "cluster8", "cluster16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass
class Subject:
    """A call to time and the row that it belongs to; ``times`` is how often ``call`` does what the row counts once."""

    row: Row
    call: Callable[[], object]
    times: int = 1
    keep: list[Any] = field(default_factory=list)


def captured(call: Callable[[], object], warmup: int = 3) -> Callable[[], None]:
    """``call`` recorded once as a CUDA graph, after warm-up on a side stream; returns its replay."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warmup):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def shrunk(config: Config) -> Config:
    """A preset with narrow networks, for trying the suite out; ResNet's has a fixed width."""
    model = dataclasses.replace(
        config.model,
        enc_hidden_size=8,
        dec_hidden_size=8,
        sst_filters=8,
        res_hidden_size=16,
        code_size_s=8,
        code_size_t=8,
    )
    return dataclasses.replace(config, model=model)


def made_windows(config: Config, device: torch.device, sequences: int = 64) -> TensorWindows:
    """Random frames of the preset's shape: ``sequences`` of one and a half windows each."""
    length = config.window
    generator = torch.Generator(device).manual_seed(1)
    frames = torch.rand(sequences, length + length // 2, *config.model.shape, device=device, generator=generator)
    return TensorWindows(frames, all_starts(*frames.shape[:2], length), length)


def step(
    preset: str, way: str, batch: int, device: torch.device, precision: str = "auto", small: bool = False
) -> Subject:
    """One training step: gathered batch, forward, backward, Adam.

    fastsep runs the product's own ``TrainStep``, of several processes each on its share of the batch; the reference
    gets its batch ready-made.
    """
    world = distributed.current()
    config = PRESETS[preset]()
    config = shrunk(config) if small else config
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, batch_size=batch))
    dtype = resolve_precision(precision, device)
    windows = made_windows(config, device, sequences=8 if small else 64)
    index = torch.randint(len(windows), (world.share(batch),), device=device)
    torch.manual_seed(0)
    keep: list[Any]
    if way.startswith("reference"):
        model = ReferenceModel(config.model).to(device).train()
        video, betas = windows.batch(index), (config.optim.beta1, config.optim.beta2)
        run = ReferenceStep(
            model, config.objective, config.optim.lr, betas, precision_name(dtype), "compiled" in way, "captured" in way
        )
        keep = [run, video]

        def call() -> None:
            run(video)

        call = captured(call) if "captured" in way else call
    else:
        model = build_model(config, device).train()
        tuned = device.type == "cuda" and "untuned" not in way
        ways = Ways("compiled" in way, "captured" in way, benchmark=tuned and "chosen" not in way)
        train_step = TrainStep(model, windows, config, dtype, ways, world)
        tune(train_step, "auto" if tuned else "off")
        keep = [train_step]

        def call() -> None:
            train_step(index, config.optim.lr)

        for _ in range(CAPTURES_AFTER if ways.capture else 0):
            call()
    row = Row(
        f"step/{preset}", way, device.type, precision_name(dtype), {"batch": batch}, items=batch,
        flops=work.step_flops(config.model, config.objective, batch),
        bytes=work.step_bytes(config.model, config.objective, batch),
    )  # fmt: skip
    if "captured" not in way:
        return Subject(row, call, keep=keep)

    def several() -> None:
        for _ in range(IN_A_ROW):
            call()

    return Subject(row, several, IN_A_ROW, keep=keep)


def rollout(
    way: str, batch: int, steps: int, device: torch.device, backward: bool = True, precision: str = "fp32",
    size: int = 32, hidden: int = 512, blocks: int = 3,
) -> Subject:  # fmt: skip
    """The latent rollout alone; ``way`` may name a backend and ``captured``, as in ``fastsep captured streaming``."""
    config = ModelConfig(
        mixing="mul", code_size_s=size, code_size_t=size, res_hidden_size=hidden, n_blocks=blocks, gain_resnet=0.71
    )
    torch.manual_seed(0)
    integrator = ResidualMLP(config).to(device)
    for parameter in integrator.parameters():
        nn.init.normal_(parameter, std=0.3 / parameter.shape[-1] ** 0.5)
    t0 = torch.randn(batch, size, device=device, requires_grad=backward)
    gradient = torch.randn(steps, batch, size, device=device)
    dtype = DTYPES[precision]

    if way.startswith("reference"):

        def forward(t: Tensor) -> Tensor:
            codes = [t]
            for _ in range(steps - 1):
                codes.append(integrator(codes[-1]))
            return torch.stack(codes)

        if "compiled" in way and device.type == "cuda":
            forward = torch.compile(forward)
        elif "compiled" in way:  # the loop, unrolled, takes a CPU a minute to compile
            integrator.compile(dynamic=False)
    else:
        weights = tuple(integrator.parameters())
        backend = next((word for word in way.split() if word in BACKENDS), "auto")

        def forward(t: Tensor) -> Tensor:
            return fast_rollout(t, weights, steps, dtype=dtype, backend=backend)

    def call() -> None:
        with torch.set_grad_enabled(backward), autocast(device, dtype):
            states = forward(t0)
        if backward:
            t0.grad = None
            integrator.zero_grad(set_to_none=True)
            states.backward(gradient.to(states.dtype))

    sizes = (batch, size, hidden, blocks, steps, backward)
    row = Row(
        "rollout", way, device.type, precision,
        {"batch": batch, "steps": steps, "pass": "fwd+bwd" if backward else "fwd"}, items=batch,
        flops=work.rollout_flops(*sizes),
        bytes=work.rollout_bytes(*sizes, width=2 if precision == "bf16" else 4),
        info={"size": size, "hidden": hidden, "blocks": blocks},
    )  # fmt: skip
    if "captured" not in way:
        return Subject(row, call)

    def several() -> None:
        for _ in range(IN_A_GRAPH):
            call()

    return Subject(row, captured(several), IN_A_GRAPH, keep=[integrator])


def decoder(
    way: str, batch: int, calls: int, device: torch.device, precision: str = "fp32", width: int = 64
) -> Subject:
    """The Moving MNIST decoder, forward and backward: ``calls`` frames of convolution, norm and LeakyReLU."""
    config = dataclasses.replace(PRESETS["mnist"]().model, dec_hidden_size=width)
    dtype = resolve_precision(precision, device)
    torch.manual_seed(0)
    static = torch.randn(batch, config.code_size_s, device=device, requires_grad=True)
    dynamic = torch.randn(calls, batch, config.code_size_t, device=device, requires_grad=True)
    if way.startswith("reference"):
        naive = DCGANDecoder(config, config.code_size_s + config.code_size_t).to(device).train()
        if "compiled" in way:
            naive.compile(dynamic=False)

        def forward() -> Tensor:
            return torch.stack([naive(torch.cat([static, t], 1), []) for t in dynamic])

        parameters = list(naive.parameters())
    else:
        fast = build_decoder(config).to(device).train()

        def forward() -> Tensor:
            return fast(static, dynamic, ())

        parameters = list(fast.parameters())
    run = torch.compile(forward) if way == "fastsep compiled" else forward
    gradient = torch.randn(calls, batch, *config.shape, device=device)

    def call() -> None:
        with autocast(device, dtype):
            frames = run()
        for tensor in (static, dynamic, *parameters):
            tensor.grad = None
        frames.backward(gradient.to(frames.dtype))

    row = Row(
        "conv_block", way, device.type, precision_name(dtype), {"batch": batch, "calls": calls}, items=batch * calls,
        flops=3 * work.decoder_flops(config, batch * calls),
    )  # fmt: skip
    return Subject(row, call, keep=[gradient])


def norm(
    way: str, batch: int, calls: int, device: torch.device, precision: str = "fp32", channels: int = 128, side: int = 16
) -> Subject:
    """Batch norm per call with LeakyReLU, forward and backward, on feature maps of the Moving MNIST decoder.

    The reference is PyTorch's own norm, call by call.
    """
    torch.manual_seed(0)
    x = torch.randn(calls * batch, channels, side, side, device=device, dtype=DTYPES[precision])
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn_like(x)
    if way.startswith("reference"):
        layer = nn.BatchNorm2d(channels).to(device)

        def forward() -> Tensor:
            return torch.cat([F.leaky_relu(layer(part), LEAKY_SLOPE) for part in x.chunk(calls)])
    else:
        layer = CallBatchNorm2d(channels).to(device)

        def forward() -> Tensor:
            return layer(x, calls, LEAKY_SLOPE)

    run = torch.compile(forward) if "compiled" in way else forward

    def call() -> None:
        y = run()
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        y.backward(gradient)

    row = Row(
        "call_norm", way, device.type, precision, {"batch": batch, "calls": calls}, items=batch * calls,
        bytes=5 * x.nbytes, info={"channels": channels, "side": side},
    )  # fmt: skip
    return Subject(row, captured(call) if "captured" in way else call, keep=[x, gradient])


def forecast(
    preset: str, way: str, batch: int, horizon: int, device: torch.device, precision: str = "fp32", small: bool = False
) -> Subject:
    """A forecast in evaluation mode."""
    config = PRESETS[preset]()
    config = (shrunk(config) if small else config).model
    dtype = resolve_precision(precision, device)
    torch.manual_seed(0)
    if way.startswith("reference"):
        model: nn.Module = ReferenceModel(config).to(device).eval()
        if "compiled" in way:
            compile_networks(model)
    else:
        model = fold_norms(SeparableModel(config).to(device).eval()).lay_out()
    cond = torch.rand(batch, config.nt_cond, *config.shape, device=device)

    def call() -> None:
        with torch.no_grad(), autocast(device, dtype):
            model.forecast(cond, horizon)

    row = Row(
        "forecast", way, device.type, precision_name(dtype), {"preset": preset, "batch": batch, "horizon": horizon},
        items=batch, flops=work.forecast_flops(config, batch, horizon),
    )  # fmt: skip
    return Subject(row, captured(call) if "captured" in way else call, keep=[model, cond])
