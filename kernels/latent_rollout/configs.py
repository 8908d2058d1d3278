"""Which kernel, and cut how, for which shape: a fixed table, so that nothing is ever tuned while a program runs.

The table of 16-bit operands is table.json; ``python -m kernels.latent_rollout.tune`` measures the candidates below on a
GPU and writes a new one. resources.md lists what the shipped cuts need.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

MAX_LATENT, MAX_WIDTH, MAX_BLOCKS = 64, 1024, 4
ROWS = 16  # of the state per program in the stationary kernel; 32 spill


@dataclass(frozen=True)
class Streaming:
    """A cut of the streaming kernel: tile sizes, warps, pipeline stages. Tiles shrink to a narrower hidden layer."""

    block_b: int
    block_n: int
    block_k: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Stationary:
    """A cut of the stationary kernel: programs per row group, and warps of each."""

    slices: int
    warps: int


@dataclass(frozen=True)
class Problem:
    """What a choice depends on. ``programs`` is how many are resident at once (one a multiprocessor is assumed);
    ``shared`` the bytes of shared memory one may use."""

    batch: int
    latent: int
    width: int
    blocks: int
    dtype: torch.dtype
    adjoint: bool
    programs: int
    shared: int

    @property
    def latent_padded(self) -> int:
        return max(16, power_of_two(self.latent))

    @property
    def width_padded(self) -> int:
        return power_of_two(self.width)

    @property
    def low_precision(self) -> bool:
        return self.dtype.itemsize == 2


STREAMING = Streaming(block_b=16, block_n=512, block_k=32, warps=8, stages=3)
STREAMING_WIDE = Streaming(block_b=16, block_n=256, block_k=64, warps=8, stages=3)
STREAMING_FLOAT32 = Streaming(block_b=4, block_n=128, block_k=32, warps=8, stages=3)
STREAMING_FLOAT32_SMALL = Streaming(block_b=16, block_n=64, block_k=16, warps=4, stages=2)
STATIONARY = Stationary(slices=16, warps=8)

TABLE = Path(__file__).with_name("table.json")
TABLE_WIDTH = 512
"""Hidden width at which the table was measured; narrower problems follow it."""
STATIONARY_MAX_WIDTH = 512
"""Beyond it, as in float32, a program's share of the work takes more registers than there are."""
SHARED_HOPPER = 227 * 1024
STATIONARY_MIN_SHARED = 160 * 1024
"""What the stationary kernel may need at the largest latent size: data-centre GPUs have it."""

CANDIDATES_STREAMING = (STREAMING, STREAMING_WIDE)
CANDIDATES_FLOAT32 = (STREAMING_FLOAT32, STREAMING_FLOAT32_SMALL)
CANDIDATES_STATIONARY = (STATIONARY, Stationary(slices=32, warps=8))


def power_of_two(n: int) -> int:
    """The smallest power of two that is not below ``n``."""
    return 1 << (n - 1).bit_length()


def supported(problem: Problem) -> bool:
    """Whether any Triton kernel takes this problem."""
    dtypes = (torch.float16, torch.bfloat16, torch.float32)
    return problem.dtype in dtypes and supported_shape(problem.latent, problem.width, problem.blocks)


def supported_shape(latent: int, width: int, blocks: int) -> bool:
    """Whether any Triton kernel takes this model."""
    return 1 <= latent <= MAX_LATENT and 64 <= width <= MAX_WIDTH and width % 16 == 0 and blocks <= MAX_BLOCKS


def holds_weights(config: Stationary, problem: Problem) -> bool:
    """Whether a program's weights of all blocks fit its shared memory, beside what exchanges need."""
    slice_ = slice_width(config, problem)
    weights = problem.width_padded * (problem.latent_padded + slice_) + slice_ * problem.latent_padded
    sums = 4 * parts(config, problem) * ROWS * slice_  # of the mix, between warps
    return problem.blocks * weights * problem.dtype.itemsize + sums + 2048 <= problem.shared


def slice_width(config: Stationary, problem: Problem) -> int:
    """Hidden units per program; at least what a tensor core takes."""
    return max(16, problem.width_padded // config.slices)


def parts(config: Stationary, problem: Problem) -> int:
    """Parts of the hidden axis, one a warp where it is wide enough."""
    return min(config.warps, problem.width_padded // 16)


def groups(problem: Problem) -> int:
    """Row groups of the stationary kernel."""
    return -(-problem.batch // ROWS)


def leaves_hidden(config: Streaming | Stationary, problem: Problem) -> bool:
    """Whether the forward kernel can leave the hidden layers without a spill."""
    return isinstance(config, Streaming) or (problem.latent_padded <= 32 and holds_weights(config, problem))


def gradient_tile(problem: Problem) -> int | None:
    """Rows and columns of a tile in the kernel of the weight gradients; None where plain products make them."""
    if not (supported(problem) and problem.low_precision):
        return None
    return next((tile for tile in (128, 64) if problem.width % tile == 0), None)


def gradient_splits(programs: int, rows: int, tiles: int) -> int:
    """Parts of the rows for tiles of all blocks: two programs a multiprocessor, but none of fewer than 256 rows."""
    return max(1, min(-(-2 * programs // tiles), rows // 256))


def stationary_takes(config: Stationary, problem: Problem) -> bool:
    """Whether all programs of the stationary kernel can be resident at once, and none spills."""
    if (
        not problem.low_precision
        or problem.width_padded > STATIONARY_MAX_WIDTH
        or problem.shared < STATIONARY_MIN_SHARED
    ):
        return False
    return problem.width_padded // slice_width(config, problem) * groups(problem) <= problem.programs


@dataclass(frozen=True)
class Entry:
    """One line of the table: the cut for problems up to this size in one direction."""

    batch: int
    latent: int
    blocks: int
    adjoint: bool
    config: Streaming | Stationary

    def covers(self, problem: Problem) -> bool:
        """Whether the problem is of this direction and no larger."""
        return (
            self.adjoint == problem.adjoint
            and problem.batch <= self.batch
            and problem.latent <= self.latent
            and problem.blocks <= self.blocks
        )


@cache
def table() -> tuple[Entry, ...]:
    """table.json, the tightest entries first."""
    entries = []
    for line in json.loads(TABLE.read_text()):
        kind = {"streaming": Streaming, "stationary": Stationary}[line["kernel"]]
        sizes = (line[name] for name in ("batch", "latent", "blocks", "adjoint"))
        entries.append(Entry(*sizes, kind(**line["cut"])))
    return tuple(sorted(entries, key=lambda e: (e.latent, e.blocks, e.batch)))


def choose(problem: Problem, kind: str = "auto") -> Streaming | Stationary | None:
    """The cut for a problem.

    Args:
        kind: ``streaming``, ``stationary`` (which gives way to streaming where its programs cannot all be resident)
            or ``auto``: what the table says for 16-bit operands, streaming beyond it; nothing for float32.

    Returns:
        None where no kernel takes the problem.
    """
    if not supported(problem):
        return None
    if not problem.low_precision:
        if kind == "auto":
            return None  # without tensor cores the library's products are 3.6 times faster
        return STREAMING_FLOAT32 if problem.shared >= SHARED_HOPPER else STREAMING_FLOAT32_SMALL
    streaming = STREAMING if problem.width_padded <= TABLE_WIDTH else STREAMING_WIDE
    listed = [entry.config for entry in table() if entry.covers(problem) and problem.width_padded <= TABLE_WIDTH]
    kinds = {"streaming": (Streaming,), "stationary": (Stationary,), "auto": (Streaming, Stationary)}[kind]
    config = next((c for c in listed if isinstance(c, kinds)), STATIONARY if kind == "stationary" else streaming)
    if isinstance(config, Stationary) and not stationary_takes(config, problem):
        return streaming
    return config


def candidates(problem: Problem) -> tuple[Streaming | Stationary, ...]:
    """The cuts worth timing for a problem on a Hopper GPU: those that compile there without a spill."""
    if not problem.low_precision:
        return CANDIDATES_FLOAT32
    return (*(c for c in CANDIDATES_STATIONARY if stationary_takes(c, problem)), *CANDIDATES_STREAMING)
