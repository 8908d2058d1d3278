"""What users are told: the one exception that command lines turn into a line and exit status 2, and warnings."""

from __future__ import annotations

import sys
from contextlib import suppress


class UserError(Exception):
    """Something the user can mend: the message names the cause and the remedy in one line."""


def warn(text: str) -> None:
    """Say in one line on stderr what went wrong without ending anything; above a progress bar where there is one."""
    from tqdm import tqdm

    with suppress(OSError, ValueError):  # nobody reads it
        tqdm.write(f"warning: {text}", file=sys.stderr)
