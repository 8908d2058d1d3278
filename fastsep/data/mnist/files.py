"""The digits of Moving MNIST: the four IDX files of MNIST, or scikit-learn's bundled digits enlarged."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fastsep.data.base import Split
from fastsep.data.formats.optional import optional
from fastsep.data.formats.reading import reading
from fastsep.errors import UserError, first_line

Digits = Literal["mnist", "sklearn"]
SIDE = 28
_LARGEST = 1 << 30  # MNIST has 47 MB; larger sets of the same form are welcome, bombs are not

# SHA-256 of the files as LeCun, Cortes and Burges published them.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def load_digits(source: Digits, split: Split, directory: Path) -> np.ndarray:
    """Images of single digits, (N, 28, 28) uint8; train and test share none.

    Raises:
        UserError: a file is missing and cannot be fetched, or is damaged.
    """
    return _bundled(split) if source == "sklearn" else _mnist(split, directory)


def _mnist(split: Split, directory: Path) -> np.ndarray:
    prefix = "train" if split == "train" else "t10k"
    image_path = _find(directory, f"{prefix}-images-idx3-ubyte")
    images = read_idx(image_path)
    label_path = _find(directory, f"{prefix}-labels-idx1-ubyte")
    labels = read_idx(label_path)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or len(images) == 0:
        raise UserError(f"{image_path} holds an array {images.shape}, not images of {SIDE}x{SIDE}: fetch MNIST again")
    if labels.shape != (len(images),):
        raise UserError(f"{label_path} has {labels.size} labels for {len(images)} images: fetch both files again")
    blank = np.flatnonzero(~images.any((1, 2)))
    if len(blank):
        raise UserError(
            f"{image_path}: {len(blank)} of {len(images)} images are blank, image {blank[0]} first: fetch it again"
        )
    return images


def _find(directory: Path, name: str) -> Path:
    """The file, as it is or gzipped; fetched into ``directory`` if there is neither."""
    for path in (directory / name, directory / f"{name}.gz", directory / name.replace("-idx", ".idx")):
        if os.path.exists(path):
            return path
    return _fetch(directory, f"{name}.gz")


def _fetch(directory: Path, name: str) -> Path:
    pooch = optional("pooch", "fetching MNIST")
    cause = ""
    for mirror in MIRRORS:
        try:
            return Path(pooch.retrieve(mirror + name, f"sha256:{CHECKSUMS[name]}", fname=name, path=directory))
        except (OSError, ValueError) as error:  # no network; wrong checksum
            cause = first_line(error, 150)
    raise UserError(
        f"{directory / name} is missing and could not be fetched ({cause}): put MNIST's four IDX files into "
        f"{directory}, or take the bundled digits with --digits sklearn"
    )


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not (format: yann.lecun.com/exdb/mnist).

    Raises:
        UserError: the file is damaged.
    """
    with reading(path, "IDX file", "fetch it again"):
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = _inflate(raw)
        zero, kind, ndim = struct.unpack(">HBB", raw[:4])
        if zero != 0 or kind != 8 or ndim == 0:
            raise ValueError("it holds no unsigned bytes")
        shape = struct.unpack(f">{ndim}I", raw[4 : 4 + 4 * ndim])
        values = raw[4 + 4 * ndim :]
        if len(values) != math.prod(shape):
            raise ValueError(f"it holds {len(values)} bytes where its header says {math.prod(shape)}")
        return np.frombuffer(values, np.uint8).reshape(shape)


def _inflate(packed: bytes) -> bytes:
    """What a gzip file holds; its length and checksum are looked at. At most ``_LARGEST`` bytes."""
    with gzip.open(io.BytesIO(packed)) as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError(f"it unpacks to more than {_LARGEST >> 20} MB")
    return raw


def _bundled(split: Split) -> np.ndarray:
    """scikit-learn's 1,797 digits of 8x8, scaled to the 20x20 that MNIST's digits fill, with its margin of 4.

    The first 80% train. The collection is ordered by writer, so hardly any writer is in both parts.
    """
    digits = optional("sklearn.datasets", "--digits sklearn").load_digits().images  # (1797, 8, 8), 0 to 16
    images = torch.from_numpy(digits)[:, None] * (255 / 16)
    box = SIDE - 8
    images = torch.nn.functional.interpolate(images, size=(box, box), mode="bicubic", align_corners=False)
    images = torch.nn.functional.pad(images.clamp(0, 255).round(), (4, 4, 4, 4))[:, 0].to(torch.uint8).numpy()
    border = len(images) * 4 // 5
    return images[:border] if split == "train" else images[border:]
