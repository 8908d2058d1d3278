"""Numbers as files of the sciences pack them: scaled into small integers, with marks where nothing was measured.

Source: NetCDF User Guide, appendix A (attribute conventions), and CF conventions, sections 2.5 and 8.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DEFAULT_FILLS: dict[str, float] = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "i8": -9223372036854775806,
    "u8": 18446744073709551614,
    "f4": 15 * 2.0**119,  # 9.96921e36
    "f8": 15 * 2.0**119,
}
"""What the netCDF library leaves where nothing was written; bytes have none, for all their values are in use."""


@dataclass(frozen=True)
class Packing:
    """How raw numbers stand for values."""

    marks: tuple[float, ...] = ()
    """Raw numbers that stand for nothing measured."""
    raw_range: tuple[float | None, float | None] = (None, None)
    """Raw numbers outside stand for nothing, too."""
    value_range: tuple[float | None, float | None] = (None, None)
    """The same for values."""
    scale: float | None = None
    offset: float | None = None
    unsigned: bool = False
    """The raw numbers are unsigned, which NetCDF-3 cannot say by their type."""

    @classmethod
    def of(cls, attributes: Mapping[str, Any], dtype: np.dtype, default_fills: bool = False) -> Packing:
        """What the attributes of an array say.

        Packed numbers whose file declares no mark have the usual ones, the two least.

        Args:
            attributes: by name; those that do not matter here are passed over.
            dtype: of the raw numbers.
            default_fills: the netCDF library wrote them, so that its own mark counts where none is declared.

        Raises:
            ValueError: an attribute is no number.
        """
        given = {name: _numbers(name, attributes.get(name)) for name in _NAMES}
        scale, offset = given["scale_factor"], given["add_offset"]
        unsigned = str(attributes.get("_Unsigned", "false")).lower() == "true" and dtype.kind == "i"
        marks = [*given["_FillValue"].tolist(), *given["missing_value"].tolist()]
        turns = 1 << 8 * dtype.itemsize if unsigned else 0
        marks = [mark + turns if mark < 0 else mark for mark in marks]
        packed = bool(scale.size or offset.size)
        if not marks and packed and dtype.kind == "i" and not unsigned:
            least = int(np.iinfo(dtype).min)
            marks = [least, least + 1]
        elif not len(given["_FillValue"]) and default_fills:
            marks += [DEFAULT_FILLS[key] for key in (dtype.str[1:],) if key in DEFAULT_FILLS]
        bounds: dict[bool, list[float | None]] = {True: [None, None], False: [None, None]}
        for name, places in (("valid_min", (0,)), ("valid_max", (1,)), ("valid_range", (0, 1))):
            bound = given[name]
            if bound.size == len(places):
                # Of the packed type they bound raw numbers, of the unpacked one values.
                raw = not (packed and dtype.kind in "iu" and bound.dtype.kind == "f")
                # One of the packed type has the bits of an unsigned number, as the raw ones have.
                turned = turns if bound.dtype.newbyteorder("=") == dtype.newbyteorder("=") else 0
                for place, value in zip(places, bound.tolist(), strict=True):
                    bounds[raw][place] = value + turned if raw and value < 0 else value
        return cls(
            tuple(marks), tuple(bounds[True]), tuple(bounds[False]), _one("scale_factor", scale),
            _one("add_offset", offset), unsigned,
        )  # fmt: skip

    def unpack(self, raw: np.ndarray) -> np.ndarray:
        """Values, NaN where the file says that there is none; float32 where that is exact enough, else float64."""
        if self.unsigned:
            raw = raw.view(raw.dtype.str.replace("i", "u"))
        packed = self.scale is not None or self.offset is not None
        absent = _outside(raw, self.raw_range)
        for mark in self.marks:
            absent = absent | (raw == mark)
        if raw.dtype.kind == "f" and not packed:
            values = raw
        else:
            values = raw.astype(np.float32 if raw.dtype.itemsize <= 2 else np.float64)
            if packed:
                values = values * values.dtype.type(1 if self.scale is None else self.scale)
                values += values.dtype.type(self.offset or 0)
        absent = absent | _outside(values, self.value_range)
        return np.where(absent, values.dtype.type(np.nan), values) if np.any(absent) else values


_NAMES = (
    "_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max", "valid_range",
)  # fmt: skip


def _numbers(name: str, value: Any) -> np.ndarray:
    """An attribute as an array, of no elements where it is absent."""
    if value is None:
        return np.empty(0)
    array = np.asarray(value).reshape(-1)
    if not array.size or array.dtype.kind not in "fiu":
        raise ValueError(f"its {name} is no number")
    return array


def _one(name: str, array: np.ndarray) -> float | None:
    if array.size > 1:
        raise ValueError(f"its {name} is no number")
    return array.item() if array.size else None


def _outside(values: np.ndarray, bounds: tuple[float | None, float | None]) -> np.ndarray | bool:
    low, high = bounds
    outside: np.ndarray | bool = False
    if low is not None:
        outside = outside | (values < low)
    if high is not None:
        outside = outside | (values > high)
    return outside
