"""Which frames each network takes, and what it costs to make others fit.

Letters: C channels; ``*space`` the other axes of a frame, (H, W) for images, (P,) for points.
"""

from __future__ import annotations

from fastsep.errors import UserError

SMALLEST, LARGEST = 16, 256
"""Sides of the square frames, powers of two, of dcgan and vgg."""
_STRIDE = 4
"""sst halves its frames twice."""
_LEAST_RESNET = 32
TAKES = {
    "mlp": "any frames",
    "dcgan": "square frames of 16, 32, 64, 128 or 256 pixels a side",
    "vgg": "square frames of 16, 32, 64, 128 or 256 pixels a side",
    "sst": "frames whose height and width are divisible by 4",
    "resnet": "frames of at least 32x32 pixels",
}
"""By network, in words. Channels may be as many as there are."""

Space = tuple[int, ...]


def fits(kind: str, space: Space) -> bool:
    """Whether a network takes frames of ``space``."""
    return kind == "mlp" or (len(space) == 2 and _least_above(kind, space) == tuple(space))


def padding_for(kind: str, space: Space) -> Space:
    """Cells to add at the end of each axis so that frames fit a network, as few as can be.

    Raises:
        UserError: no padding makes them fit: points for a network of images, or images that are too large.
    """
    if kind == "mlp":
        return (0,) * len(space)
    above = _least_above(kind, space) if len(space) == 2 else None
    if above is None:
        raise UserError(f"{_misfit(kind, kind, space)}: choose another network")
    return tuple(wanted - size for wanted, size in zip(above, space, strict=True))


def nearest(kind: str, space: Space) -> list[Space]:
    """The largest size that fits a network within ``space`` and the smallest around it, those that there are."""
    if kind == "mlp" or len(space) != 2:
        return []
    return [size for size in (_most_within(kind, space), _least_above(kind, space)) if size is not None]


def require_fit(role: str, kind: str, space: Space) -> None:
    """Raise ``UserError``, with the nearest sizes that fit, unless an encoder or decoder takes frames of ``space``."""
    if fits(kind, space):
        return
    sizes = " and ".join(dict.fromkeys(written(size) for size in nearest(kind, space)))
    near = f" (the nearest are {sizes})" if " and " in sizes else f" (the nearest is {sizes})" if sizes else ""
    raise UserError(f"{_misfit(kind, f'{kind} {role}', space)}{near}: give such, or choose another --{role}")


def single_valued(encoder: str, space: Space) -> bool:
    """Whether batch norm in a model meets maps of one pixel: of one frame they have no variance."""
    return encoder == "vgg" or (encoder == "sst" and max(space) <= _STRIDE)


def written(shape: tuple[int, ...]) -> str:
    """A shape in a message, such as 1x64x64."""
    return "x".join(map(str, shape))


def _misfit(kind: str, name: str, space: Space) -> str:
    frames = f"{space[0]} points" if len(space) == 1 else written(space)
    return f"the {name} takes {TAKES[kind]}, not {frames}"


def _least_above(kind: str, space: Space) -> Space | None:
    """The smallest size that fits and has no axis shorter than ``space``."""
    if kind == "sst":
        return tuple(-(-size // _STRIDE) * _STRIDE for size in space)
    if kind == "resnet":
        return tuple(max(size, _LEAST_RESNET) for size in space)
    side = max(SMALLEST, 1 << (max(space) - 1).bit_length())
    return (side, side) if side <= LARGEST else None


def _most_within(kind: str, space: Space) -> Space | None:
    """The largest size that fits and has no axis longer than ``space``."""
    if kind == "sst":
        within = tuple(size // _STRIDE * _STRIDE for size in space)
        return within if all(within) else None
    if kind == "resnet":
        return tuple(space) if min(space) >= _LEAST_RESNET else None
    side = min(LARGEST, 1 << (min(space).bit_length() - 1))
    return (side, side) if side >= SMALLEST else None
