"""How every command line ends.

Exit status 0: done. 1: a mistake of this program, with a traceback. 2: input or settings that cannot be used, one line
says which and what helps. 128 + N: stopped by signal N (130 Ctrl-C, 143 SIGTERM, 129 SIGHUP); files are whole, and a
training has written a checkpoint to go on from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from fastsep import signals
from fastsep.errors import UserError
from fastsep.output import lenient_output


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and leave the process with the right status; never with a traceback for bad input."""
    status = 0
    with lenient_output():
        try:
            with signals.heeded():
                main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except signals.Stopped as stop:
            print(stop, file=sys.stderr)
            status = stop.status
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            status = 130
    if status:
        sys.exit(status)
