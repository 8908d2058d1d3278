"""Decodes the rendered views of chairs into one array."""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fastsep import signals
from fastsep.data.disk_space import require_space
from fastsep.data.formats.checksum import PAGE, checksum, pack_checksums, unpack_checksums
from fastsep.data.formats.reading import reading
from fastsep.errors import UserError
from fastsep.files import make_directory, whole_file, write_problem, write_text

VIEWS = 62
SIZE = 64
_CROP = (100, 100, 500, 500)  # left, upper, right, lower: the chair, without most of its white margin
_RENDERED = (600, 600)


def find_chairs(source: Path) -> dict[str, list[Path]]:
    """The views of each chair, chairs and views ordered by name: SOURCE/CHAIR/renders/*.png.

    Raises:
        UserError: there are none, or a chair has not 62.
    """
    root = source / "rendered_chairs" if os.path.isdir(source / "rendered_chairs") else source
    folders = [path for path in root.glob("*/renders") if path.is_dir() and not path.parent.name.startswith(".")]
    # Names with a dot are no views: macOS leaves ._NAME.png beside files that it copies.
    chairs = {path.parent.name: sorted(path.glob("[!.]*.png")) for path in folders}
    if not chairs:
        raise UserError(f"{root} has no CHAIR/renders/*.png: give the directory that rendered_chairs.tar unpacks to")
    for name, views in chairs.items():
        if len(views) != VIEWS:
            raise UserError(
                f"{root / name / 'renders'} has {len(views)} PNG files, not {VIEWS}: "
                "remove what is no view of the chair, or unpack it again"
            )
    return dict(sorted(chairs.items()))


def decode(path: Path) -> np.ndarray:
    """A view, cropped and scaled: (3, 64, 64) uint8.

    Raises:
        UserError: the file is damaged or has another size.
    """
    with reading(path, "PNG image", "unpack it again"):
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != _RENDERED:
                raise UserError(f"{path} has {image.size[0]}x{image.size[1]} pixels, not 600x600: unpack it again")
            _verify_png(data)
            view = image.crop(_CROP).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        return np.asarray(view).transpose(2, 0, 1)


def _verify_png(data: bytes) -> None:
    """Raise ``ValueError`` if a chunk of a PNG file does not fit its checksum; Pillow looks at a few of them only."""
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 8 + length
        if len(data) < end + 4:
            raise ValueError("it is cut off")
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ValueError(f"its chunk {kind.decode('latin-1')} does not fit its checksum")
        at = end + 4


def write_views(source: Path, out: Path, progress: Callable[[Iterable[str]], Iterable[str]]) -> int:
    """Decode all views of ``source`` into ``out``, (chairs, 62, 3, 64, 64) uint8; whole or not at all.

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
    shape = (len(chairs), VIEWS, 3, SIZE, SIZE)
    require_space(out.parent, math.prod(shape))
    names = out.with_suffix(".txt")
    if names.exists() and not out.exists():
        raise UserError(f"{names} is in the way, since the chairs' names go there: move it, or choose another --out")
    try:
        make_directory(out.parent)
        # Plain writes, not a mapped file: where the disk runs full under one, the process ends with a bus error.
        with signals.held():  # views and names appear together
            with (
                whole_file(out) as file,
                signals.released(),
                ThreadPoolExecutor(torch.get_num_threads()) as pool,
            ):
                file.write(pack_header(len(chairs)))
                sums = []
                for name in progress(chairs):
                    views = np.stack(list(pool.map(decode, chairs[name])))  # Pillow lets go of the interpreter's lock
                    sums.append(checksum(views))
                    file.write(views.tobytes())
                file.write(pack_checksums(sums))
            write_text(names, "".join(f"{name}\n" for name in chairs))
    except OSError as error:
        raise write_problem(out, error, "choose another --out") from None
    return len(chairs)


def pack_header(chairs: int) -> bytes:
    """What precedes the array: NumPy's header, one page long as a sign that checksums follow the array."""
    shape = (chairs, VIEWS, 3, SIZE, SIZE)
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(PAGE - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def verify_views(views: np.ndarray, offset: int, trailer: bytes) -> None:
    """Raise ``ValueError`` if chairs (chairs, 62, 3, 64, 64) do not fit the checksums that follow them in the file.

    A file without, of an earlier version or other hands, is searched for views of one colour.

    Args:
        offset: where the array begins.
        trailer: what follows it.
    """
    if trailer or offset == PAGE:
        sums = unpack_checksums(trailer, len(views))
        bad = [row for row, chair in enumerate(views) if checksum(chair) != sums[row]]
        if bad:
            raise ValueError(f"{len(bad)} of its chairs do not fit their checksums, chair {bad[0]} first")
        return
    flat = views.reshape(len(views), VIEWS, -1)
    blank = np.argwhere(flat.min(2, initial=255) == flat.max(2, initial=0))
    if len(blank):
        chair, view = blank[0]
        raise ValueError(f"{len(blank)} of its views are of one colour, view {view} of chair {chair} first")
