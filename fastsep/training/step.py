"""One training step: gather the batch, forward, backward, Adam; eager, compiled, or replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.stateless import _reparametrize_module

from fastsep.config import Config
from fastsep.data.windows import Windows
from fastsep.machine.memory import keep_freed_memory
from fastsep.model import SeparableModel
from fastsep.networks.halves import drop_halves
from fastsep.networks.layers import CallCounts, share_norms
from fastsep.objective import Cells, Losses, window_ends
from fastsep.training import draws
from fastsep.training.adam import Adam, total_norm
from fastsep.training.average import Average
from fastsep.training.buckets import Buckets
from fastsep.training.feed import Feed
from fastsep.training.forward import Forward
from fastsep.training.replay import Replay
from fastsep.training.ways import Ways, cudnn_benchmark, keeps_halves
from fastsep.world import ALONE, World
from kernels.choose import Case, asked_for

_CLEARING = 100
"""Steps between clearings of Adam's moments on a CPU: by the number of a step, so that a resumed run does the same."""


class TrainStep:
    """Calls ``step(index, lr)``; nothing in it waits for the device.

    Where several processes train together each takes its rows of a batch, and gradients and losses are those of all.

    The mean loss terms since the last ``read_losses`` are kept on the device. What a step draws depends on the run's
    seed and on ``done``, the number of steps before it, alone.

    Args:
        model: on its device, laid out, in training mode.
        windows: training windows on the same device; those that are not resident are fetched before each step, so that
            a graph holds the rest of it.
        dtype: of matrix products; float16 scales the loss.
        world: who trains together.
    """

    def __init__(
        self,
        model: SeparableModel,
        windows: Windows,
        config: Config,
        dtype: torch.dtype,
        ways: Ways,
        world: World = ALONE,
    ):
        self.model = model
        self.dtype = dtype
        self.device = next(model.parameters()).device
        on_gpu = self.device.type == "cuda"
        if not on_gpu:
            keep_freed_memory()
        # A rate that lives on the device can change under a captured graph.
        self.lr = torch.tensor(config.optim.lr, device=self.device, dtype=torch.float32)
        betas = (config.optim.beta1, config.optim.beta2)
        self.optimizer = Adam(model.parameters(), lr=self.lr, betas=betas, fused=True, capturable=on_gpu)
        drop_halves(model)  # those of an earlier training would stay as they are
        if keeps_halves(self.device, dtype, world, config.optim.accumulate):
            self.optimizer.keep_halves(model, dtype)
        self._rounded = False  # the weights may be loaded after this
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.average = None if config.optim.ema is None else Average(model, config.optim.ema)
        self.done = 0
        self._seed = config.run.seed
        self._end_range = window_ends(model.config, config.objective)
        self._end = torch.zeros((), dtype=torch.int64, device=self.device)  # where a captured graph looks for it
        limit = config.optim.clip_norm
        self._clip_norm = None if limit is None else torch.tensor(limit, device=self.device)
        self.world = world
        self._buckets = Buckets(model.parameters(), world) if world.joined else None
        if world.joined and config.optim.norm_over == "all":
            share_norms(model, world.stack)
        self._calls = CallCounts(model)
        self._micro_batches = config.optim.accumulate
        rows = world.share(config.optim.batch_size, self._micro_batches)
        self.feed = Feed(windows, rows, self.device, in_place=ways.capture)
        self._sums = torch.zeros(len(Losses._fields), dtype=next(model.parameters()).dtype, device=self.device)
        self._count = 0
        self.benchmark = ways.benchmark
        self._replay = Replay(self.device) if ways.capture else None
        # Outside of a graph the host is the slower one: it launches one kernel after the other. Processes that share a
        # batch talk to each other from within both passes, in an order that must be the same for all.
        pays = ways.capture and not world.joined and model.encoder_s is not None
        self._forward = Forward(model, config.objective, dtype, Cells.of(windows.mask), ways.compile)
        self._run_beside(torch.cuda.Stream(self.device) if pays else None)

    def __call__(self, index: Tensor, lr: float) -> None:
        """Train on the windows ``index``, this rank's (B,) of the batch, with rate ``lr``."""
        if not self._rounded:
            self.optimizer.round_halves()
            self._rounded = True
        self.lr.fill_(lr)
        self._end.fill_(draws.integer(self._seed, self.done, "window", *self._end_range))
        self.feed.lay(index, draws.key(self._seed, self.done, "videos"))
        if self.average is not None:
            self.average.begin(self.done)
        if self._replay is not None:
            self._replay(self._run, self._clear)
        else:
            self._run()
        self._count += 1
        self.done += 1
        if self.device.type == "cpu" and self.done % _CLEARING == 0:
            self.optimizer.clear_denormals()

    def read_losses(self) -> Losses:
        """Mean of each term since the last call, as floats (waits for the device)."""
        means = (self.world.average(self._sums) / max(self._count, 1)).tolist()
        self._sums.zero_()
        self._count = 0
        return Losses(*means)

    def scored_weights(self) -> AbstractContextManager[None]:
        """Within, the model has the weights that count: the averages where they are kept, else its own."""
        return nullcontext() if self.average is None else self.average.in_force()

    def state(self) -> dict[str, Any]:
        """What resuming needs beside the weights that count: moments, the loss scale, the model's own weights."""
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        return state if self.average is None else {**state, "weights": self.average.weights()}

    def load_state(self, state: dict[str, Any], done: int) -> None:
        """Take over what ``state`` returned after ``done`` steps, before the first step here.

        The model holds the weights that counted then. Moments are the run's; how Adam runs, and its settings, are this
        machine's and this run's own.
        """
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        for parameter, values in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # Adam's kernels take for granted that all lie alike in memory
                if values[name].shape != parameter.shape:
                    raise ValueError("moments of another model")
                values[name] = torch.empty_like(parameter).copy_(values[name])
        if state["scaler"]:  # empty where the run did without a loss scale
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load(state["weights"])
        self._rounded = False
        self.done = done

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Within, nothing runs beside anything else: each kernel takes its own time. Graphs are recorded anew."""
        beside = self._forward.beside
        try:
            self._run_beside(None)
            yield
        finally:
            self._run_beside(beside)

    def cases(self) -> list[Case]:
        """What the ops of a step may choose for. They are asked on fake tensors: nothing is computed or changed."""
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        state = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        stand_ins = {name: fake.from_tensor(tensor) for name, tensor in state.items()}
        shape = (self.feed.rows // self._micro_batches, self.feed.windows.length, *self.model.config.shape)
        with asked_for() as cases, fake, _reparametrize_module(self.model, stand_ins):
            self._forward.plain(torch.empty(shape, device=self.device), self._end)
        self._calls.forget()
        return list(cases)

    def _run_beside(self, stream: torch.cuda.Stream | None) -> None:
        """Compute S, and what follows from its gradients, on ``stream``; without one, in turn with all else."""
        self._forward.beside = stream
        self.optimizer.step_beside(stream, [] if self.model.encoder_s is None else self.model.encoder_s.parameters())
        if self._replay is not None:
            self._replay.record_anew()

    def _clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _run(self) -> None:
        """Forward, backward, Adam: what a graph holds."""
        with cudnn_benchmark(self.benchmark):
            self._compute()

    def _compute(self) -> None:
        """The loss of each micro-batch and its gradient, then the weights."""
        video = self.feed.video()
        self._clear()
        share = 1 / self._micro_batches  # all are of one size: the mean of their losses is that of the batch
        for number in range(self._micro_batches):
            # Every K-th row: of all ranks together the same rows, whatever their number.
            rows = video[number :: self._micro_batches].contiguous()
            terms = self._forward(rows, self._end)
            self._calls.settle()
            if self._buckets and number == self._micro_batches - 1:
                self._buckets.begin()
            self.scaler.scale(terms.total if share == 1 else terms.total * share).backward()
            self._forward.join()
            self._sums.add_(torch.stack([term.detach() for term in terms]), alpha=share)
        if self._buckets:
            self._buckets.finish()
        if self._clip_norm is not None:
            self.optimizer.grad_scale = self._excess(self._clip_norm)  # fused Adam divides by it in passing
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()

    def _excess(self, limit: Tensor) -> Tensor:
        """How many times the gradient is longer than ``limit``, at least 1. The loss scale, still in it, is no part."""
        norm = total_norm([*self.optimizer.gradients()])
        return (norm / self.scaler.scale(limit)).clamp(min=1.0).float()
