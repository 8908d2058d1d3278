"""The kinds of encoders and decoders: one table of all that a kind brings along but its modules, without PyTorch.

One more kind is its name and its row here, its modules in ``fastsep.networks``, and a line there that makes each.

Letters: ``*space`` the axes of a frame behind its channels, (H, W) for images, (P,) for points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

Encoder = Literal["mlp", "dcgan", "vgg", "resnet", "sst"]
Decoder = Literal["mlp", "dcgan", "vgg", "sst"]
"""Each of these is the name of an encoder, too."""
DECODERS: tuple[str, ...] = get_args(Decoder)

Space = tuple[int, ...]


class Sizes(Protocol):
    """Sizes of frames that a network takes."""

    @property
    def words(self) -> str:
        """These frames, in a message. Channels may be as many as there are."""

    def least_above(self, space: Space) -> Space | None:
        """The smallest such size that has no axis shorter than ``space``."""

    def most_within(self, space: Space) -> Space | None:
        """The largest such size that has no axis longer than ``space``."""


@dataclass(frozen=True)
class AnySize:
    """All there are."""

    words: str = "any frames"

    def least_above(self, space: Space) -> Space | None:
        return tuple(space)

    def most_within(self, space: Space) -> Space | None:
        return tuple(space)


@dataclass(frozen=True)
class Squares:
    """Images of equal sides, powers of two."""

    smallest: int
    largest: int

    @property
    def words(self) -> str:
        *others, last = (1 << power for power in range(self.smallest.bit_length() - 1, self.largest.bit_length()))
        return f"square frames of {', '.join(map(str, others))} or {last} pixels a side"

    def least_above(self, space: Space) -> Space | None:
        side = max(self.smallest, 1 << (max(space) - 1).bit_length())
        return (side, side) if side <= self.largest else None

    def most_within(self, space: Space) -> Space | None:
        side = min(self.largest, 1 << (min(space).bit_length() - 1))
        return (side, side) if side >= self.smallest else None


@dataclass(frozen=True)
class Multiples:
    """Images whose sides are multiples of ``unit``."""

    unit: int

    @property
    def words(self) -> str:
        return f"frames whose height and width are divisible by {self.unit}"

    def least_above(self, space: Space) -> Space | None:
        return tuple(-(-size // self.unit) * self.unit for size in space)

    def most_within(self, space: Space) -> Space | None:
        within = tuple(size // self.unit * self.unit for size in space)
        return within if all(within) else None


@dataclass(frozen=True)
class AtLeast:
    """Images of no side shorter than ``side``."""

    side: int

    @property
    def words(self) -> str:
        return f"frames of at least {self.side}x{self.side} pixels"

    def least_above(self, space: Space) -> Space | None:
        return tuple(max(size, self.side) for size in space)

    def most_within(self, space: Space) -> Space | None:
        return tuple(space) if min(space) >= self.side else None


@dataclass(frozen=True)
class Kind:
    """A kind of encoder, and of decoder where there is one of the name."""

    sizes: Sizes
    usual: Mapping[str, Any]
    """Settings of a model with such an encoder, as in the published preset; see ``fastsep.model_auto``."""
    hidden_size: int = 64
    """Published width, of the encoder as of the decoder."""
    enc_n_layers: int = 3
    dec_n_layers: int = 3
    sized_by: tuple[str, ...] = ("hidden_size",)
    """Settings of its widths and depths, without enc_ and dec_ in front, which the others are not."""
    narrow: Mapping[str, Any] = field(default_factory=dict)
    """What takes the place of published sizes on a CPU, where the kind is picked."""
    convolutional: bool = True
    """Takes images only, and its time and memory go into feature maps."""
    skips: bool = False
    """The encoder can hand its feature maps to a decoder of the kind."""
    spatial: bool = False
    """Codes are maps: encoder and decoder are both of this kind, S and T lie side by side."""
    single_valued: int = 0
    """Longest side of frames of which batch norm meets maps of one pixel."""

    def least_above(self, space: Space) -> Space | None:
        """The smallest size that fits and has no axis shorter than ``space``; points are no images."""
        return self.sizes.least_above(space) if self._takes_axes(space) else None

    def most_within(self, space: Space) -> Space | None:
        """The largest size that fits and has no axis longer than ``space``."""
        return self.sizes.most_within(space) if self._takes_axes(space) else None

    def _takes_axes(self, space: Space) -> bool:
        return len(space) == 2 or not self.convolutional


_SQUARES = Squares(16, 256)
_STRIDE = 4  # sst halves its frames twice

KINDS: Mapping[str, Kind] = {
    "mlp": Kind(
        sizes=AnySize(),
        usual={"mixing": "mul", "code_size_s": 32, "code_size_t": 32, "n_blocks": 3, "gain_resnet": 0.71},
        hidden_size=1200,
        dec_n_layers=4,
        sized_by=("hidden_size", "n_layers"),
        convolutional=False,
    ),
    "dcgan": Kind(
        sizes=_SQUARES,
        usual={"mixing": "concat", "code_size_s": 128, "code_size_t": 20, "n_blocks": 1, "gain_resnet": 1.41},
        narrow={"enc_hidden_size": 16, "dec_hidden_size": 16},
        skips=True,
    ),
    "vgg": Kind(
        sizes=_SQUARES,
        usual={"mixing": "concat", "code_size_s": 128, "code_size_t": 20, "n_blocks": 1, "gain_resnet": 0.71},
        skips=True,
        single_valued=_SQUARES.largest,
    ),
    "resnet": Kind(
        sizes=AtLeast(32),
        usual={"mixing": "concat", "code_size_s": 128, "code_size_t": 10, "n_blocks": 1, "gain_resnet": 0.71},
        sized_by=(),
    ),
    "sst": Kind(
        sizes=Multiples(_STRIDE),
        usual={
            "mixing": "concat", "code_size_s": 196, "code_size_t": 64, "n_blocks": 2, "gain_resnet": 0.71, "offset": 0,
        },
        sized_by=("sst_filters",),
        # Its codes are maps, too.
        narrow={"sst_filters": 16, "code_size_s": 64, "code_size_t": 32, "res_hidden_size": 64},
        skips=True,
        spatial=True,
        single_valued=_STRIDE,
    ),
}  # fmt: skip
"""By name."""


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises ValueError where there is none."""
    if name not in KINDS:
        raise ValueError(f"there is no network {name}, but {', '.join(KINDS)}")
    return KINDS[name]
