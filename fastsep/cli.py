"""How every command line ends: 0 when done, 2 and one line for bad input, 130 when interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fastsep.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and leave the process with the right status; never with a traceback for bad input."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
