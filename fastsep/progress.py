"""The progress bar of everything that takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_SECONDS_IN_A_FILE = 30.0


def progress_bar(items: Iterable | None = None, **options: Any) -> tqdm:
    """A tqdm bar on standard error; in a file, such as a batch system's log, drawn twice a minute and no oftener.

    Args:
        items: what to iterate over; none for a bar that is moved with ``update``.
        options: as tqdm takes them.
    """
    live = sys.stderr.isatty()
    pace = {} if live else {"mininterval": _SECONDS_IN_A_FILE, "maxinterval": _SECONDS_IN_A_FILE}
    return tqdm(items, dynamic_ncols=live, **pace, **options)
