"""What the axes of an array mean: as they are named, as the file names them, or guessed by their number and sizes.

Letters: n sequences, t time, c channels, h height, w width, p points.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastsep.errors import UserError

LETTERS = "ntchwp"
_SPACES = ({"h", "w"}, {"p"})
_MOST_CHANNELS = 4  # an axis that is no longer holds channels, where it is not clear
_LEAST_SIDE = 16  # and two that are longer and of like length are a frame
_NAMES = {
    "t": "time step steps frame frames date day days hour hours month months year years valid_time",
    "h": "latitude lat nav_lat rlat y yc yt ny nlat nlats row rows j south_north projection_y_coordinate height",
    "w": "longitude lon nav_lon rlon x xc xt nx nlon nlons column columns col i west_east projection_x_coordinate "
    "width",
    "n": "sample samples sequence sequences member members ensemble realization number trajectory batch run case "
    "simulation",
    "c": "channel channels band bands variable component components depth deptht lev level levels layer z plev "
    "pressure isobaric pressure_level",
    "p": "point points cell cells ncells ncell station stations node nodes sensor sensors location site",
}
_BEGINNINGS = {"lat": "h", "eta_": "h", "lon": "w", "xi_": "w"}  # of names that models of the ocean give
_LETTER_OF = {name: letter for letter, names in _NAMES.items() for name in (letter, *names.split())}


def is_layout(letters: str) -> bool:
    """Whether frames can lie so: time, height and width or points, each once, and perhaps sequences and channels."""
    known = set(letters)
    return (
        len(known) == len(letters)
        and known <= set(LETTERS)
        and "t" in known
        and known & {"h", "w", "p"} in _SPACES
    )  # fmt: skip


def check_layout(letters: str) -> str:
    """The layout as it is meant, in small letters.

    Raises:
        UserError: it is none; the message says what one is.
    """
    layout = letters.strip().lower()
    if is_layout(layout):
        return layout
    raise UserError(
        f"'{letters}' is no layout: name each axis by a letter, n sequences, t time, c channels, h height, w width, "
        "p points, such as nthw, ntchw, tchw, thwc or ntp"
    )


def layout_by_names(dims: Sequence[str]) -> str | None:
    """The layout that the names of the axes say; None where one of them is unknown or they contradict each other."""
    letters = _letters(dims)
    if "p" not in letters and letters.count("h") + letters.count("w") == 1:
        letters = letters.replace("h", "p").replace("w", "p")  # a field along one line
    return letters if letters and is_layout(letters) else None


def lacks_time(dims: Sequence[str]) -> bool:
    """Whether the names of the axes are all known, and none is of time."""
    letters = _letters(dims)
    return bool(letters) and not {"?", "t"} & set(letters)


def _letters(dims: Sequence[str]) -> str:
    """A letter for each name, ? for one that is not known."""
    return "".join(_letter(name.rsplit("/", 1)[-1].lower()) for name in dims)


def _letter(name: str) -> str:
    if "time" in name:
        return "t"
    begun = (letter for start, letter in _BEGINNINGS.items() if name.startswith(start))
    return _LETTER_OF.get(name) or next(begun, "?")


def guess_layout(shape: Sequence[int], one_sequence: bool = False) -> tuple[str, tuple[str, ...]] | None:
    """The likeliest layout of an array of 2 to 5 axes, and others that would fit it as well; None of other arrays.

    Five axes are ntchw, or nthwc where the last alone is short enough for channels (1 to 4). Four are thwc where the
    last alone is that short, tchw where the second alone is, else nthw. Three are thw, one record of images, where two
    like sides (16 and more, one at most twice the other) come last, else ntp. Two are tp.

    Args:
        one_sequence: there is no axis n. Four axes are thwc or else tchw then, three are thw.
    """
    short = [size <= _MOST_CHANNELS for size in shape]
    if one_sequence:
        if len(shape) == 4:
            last = short[3] and not any(short[1:3])
            return ("thwc", ("tchw",)) if last else ("tchw", ("thwc",))
        return {3: ("thw", ()), 2: ("tp", ())}.get(len(shape))
    if len(shape) == 5:
        last = short[4] and not short[2]
        return ("nthwc", ("ntchw",)) if last else ("ntchw", ("nthwc",))
    if len(shape) == 4:
        if short[3] and not any(short[1:3]):
            return "thwc", ("nthw", "tchw")
        if short[1] and not any(short[2:]):
            return "tchw", ("nthw", "thwc")
        return "nthw", ("tchw", "thwc")
    if len(shape) == 3:
        low, high = sorted(shape[1:])
        return ("thw", ("ntp",)) if low >= _LEAST_SIDE and high <= 2 * low else ("ntp", ("thw",))
    return ("tp", ()) if len(shape) == 2 else None
