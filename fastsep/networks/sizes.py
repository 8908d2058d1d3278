"""Which frames each network takes, and what it costs to make others fit.

Letters: C channels; ``*space`` the other axes of a frame, (H, W) for images, (P,) for points.
"""

from __future__ import annotations

from fastsep.errors import UserError
from fastsep.network_kinds import Space, kind_of


def fits(kind: str, space: Space) -> bool:
    """Whether a network takes frames of ``space``."""
    return kind_of(kind).least_above(space) == tuple(space)


def padding_for(kind: str, space: Space) -> Space:
    """Cells to add at the end of each axis so that frames fit a network, as few as can be.

    Raises:
        UserError: no padding makes them fit: points for a network of images, or images that are too large.
    """
    above = kind_of(kind).least_above(space)
    if above is None:
        raise UserError(f"{_misfit(kind, kind, space)}: choose another network")
    return tuple(wanted - size for wanted, size in zip(above, space, strict=True))


def nearest(kind: str, space: Space) -> list[Space]:
    """The largest size that fits a network within ``space`` and the smallest around it, those that there are."""
    network = kind_of(kind)
    return [size for size in (network.most_within(space), network.least_above(space)) if size is not None]


def require_fit(role: str, kind: str, space: Space) -> None:
    """Raise ``UserError``, with the nearest sizes that fit, unless an encoder or decoder takes frames of ``space``."""
    if fits(kind, space):
        return
    sizes = " and ".join(dict.fromkeys(written(size) for size in nearest(kind, space)))
    near = f" (the nearest are {sizes})" if " and " in sizes else f" (the nearest is {sizes})" if sizes else ""
    raise UserError(f"{_misfit(kind, f'{kind} {role}', space)}{near}: give such, or choose another --{role}")


def single_valued(encoder: str, space: Space) -> bool:
    """Whether batch norm in a model meets maps of one pixel: of one frame they have no variance."""
    return max(space) <= kind_of(encoder).single_valued


def written(shape: tuple[int, ...]) -> str:
    """A shape in a message, such as 1x64x64."""
    return "x".join(map(str, shape))


def _misfit(kind: str, name: str, space: Space) -> str:
    frames = f"{space[0]} points" if len(space) == 1 else written(space)
    return f"the {name} takes {kind_of(kind).sizes.words}, not {frames}"
