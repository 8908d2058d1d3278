"""Decodes the rendered views of chairs into one array."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fastsep.errors import UserError

VIEWS = 62
SIZE = 64
_CROP = (100, 100, 500, 500)  # left, upper, right, lower: the chair, without most of its white margin
_RENDERED = (600, 600)


def find_chairs(source: Path) -> dict[str, list[Path]]:
    """The views of each chair, chairs and views ordered by name: SOURCE/CHAIR/renders/*.png.

    Raises:
        UserError: there are none, or a chair has not 62.
    """
    root = source / "rendered_chairs" if (source / "rendered_chairs").is_dir() else source
    chairs = {path.parent.name: sorted(path.glob("*.png")) for path in root.glob("*/renders") if path.is_dir()}
    if not chairs:
        raise UserError(f"{root} has no CHAIR/renders/*.png: give the directory that rendered_chairs.tar unpacks to")
    for name, views in chairs.items():
        if len(views) != VIEWS:
            raise UserError(f"{root / name / 'renders'} has {len(views)} PNG files, not {VIEWS}: unpack it again")
    return dict(sorted(chairs.items()))


def decode(path: Path) -> np.ndarray:
    """A view, cropped and scaled: (3, 64, 64) uint8.

    Raises:
        UserError: the file is damaged or has another size.
    """
    try:
        with Image.open(path) as image:
            if image.size != _RENDERED:
                raise UserError(f"{path} has {image.size[0]}x{image.size[1]} pixels, not 600x600: unpack it again")
            view = image.crop(_CROP).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is not a whole PNG image ({type(error).__name__}): unpack it again") from None
    return np.asarray(view).transpose(2, 0, 1)


def write_views(source: Path, out: Path, progress: Callable[[Iterable[str]], Iterable[str]]) -> int:
    """Decode all views of ``source`` into ``out``, (chairs, 62, 3, 64, 64) uint8; renamed when whole.

    The names of the chairs go to a text file beside it, one a line in the order of the rows.

    Args:
        progress: wraps the iteration over chairs.

    Returns:
        How many chairs there are.

    Raises:
        UserError: a view is missing or damaged, or ``out`` cannot be written.
    """
    if out.suffix != ".npy":
        raise UserError(f"{out} is to be a NumPy file: give --out a name that ends in .npy")
    chairs = find_chairs(source)
    part, names = out.with_name(out.name + ".part"), out.with_suffix(".txt")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(part, "w+", np.uint8, (len(chairs), VIEWS, 3, SIZE, SIZE))
        with ThreadPoolExecutor() as pool:  # Pillow decodes and scales without the interpreter's lock
            for row, name in enumerate(progress(chairs)):
                array[row] = np.stack(list(pool.map(decode, chairs[name])))
        array.flush()
        del array
        part.replace(out)
        names.write_text("".join(f"{name}\n" for name in chairs))
    except OSError as error:
        raise UserError(f"cannot write {out} ({error}): choose another --out") from None
    finally:
        part.unlink(missing_ok=True)
    return len(chairs)
