"""How every program here begins and ends.

Exit status 0: done. 1: a mistake of this program, with a traceback. 2: input or settings that cannot be used; a line
says which and what helps. 128 + N: stopped by signal N (130 Ctrl-C, 143 SIGTERM, 129 SIGHUP); files are whole, and a
training has written a checkpoint to go on from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import kernels
from fastsep import signals
from fastsep.errors import ToldElsewhere, UserError, first_line, is_memory_problem, leave_word, tell
from fastsep.output import lenient_output


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and leave the process with the right status; never with a traceback for bad input."""
    status = 0
    with lenient_output():
        try:
            with signals.heeded():
                _check_environment()
                main()
        except UserError as error:
            line = "\\n".join(str(error).splitlines())  # a name may hold a newline
            tell(f"error: {line}", error.seconds_after_cause)
            status = 2
        except ToldElsewhere as other:
            leave_word("it ended because another process did", later=60)
            status = other.status
        except (MemoryError, RuntimeError) as error:
            if not is_memory_problem(error):
                raise
            tell(f"error: not enough memory ({first_line(error)}): free some, or ask for less")
            status = 2
        except signals.Stopped as stop:
            tell(str(stop))
            status = stop.status
        except KeyboardInterrupt:
            tell("stopped")
            status = 130
    if status:
        sys.exit(status)


def _check_environment() -> None:
    try:
        kernels.setting()
    except ValueError as error:
        raise UserError(str(error)) from None
