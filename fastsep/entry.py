"""How every program here begins and ends.

Exit status 0: done. 1: a mistake of this program, with a traceback. 2: input or settings that cannot be used; a line
says which and what helps. 128 + N: stopped by signal N (130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; all are in
``signals``); files are whole, and a training has written a checkpoint to go on from.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable

import kernels
from fastsep import launch, signals
from fastsep.errors import (
    ToldElsewhere,
    UserError,
    first_line,
    is_memory_problem,
    leave_word,
    paths_in_reach,
    speak,
    tell,
)
from fastsep.output import lenient_output


def run(main: Callable[[], None], several: bool = False) -> None:
    """Call ``main`` and leave the process with the right status; never with a traceback for bad input.

    Args:
        several: processes that were started together may share the work (see ``fastsep.distributed``). Otherwise they
            are refused: each would do all of it, into the same files.
    """
    launch.quieten()
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; a name that matplotlib does not know would end it
    status = 0
    with lenient_output():
        try:
            with signals.heeded(of_jobs=True):
                _tell_once(main) if several else _alone(main)
        except UserError as error:
            line = "\\n".join(str(error).splitlines())  # a name may hold a newline
            tell(f"error: {line}", error.seconds_after_cause)
            status = 2
        except ToldElsewhere as other:
            leave_word("it ended because another process did", later=60)
            status = other.status
        except Exception as error:
            if not is_memory_problem(error):
                leave_word(f"error: {type(error).__name__}: {first_line(error)}")
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


def _tell_once(main: Callable[[], None]) -> None:
    """What is wrong before the processes have met is told by one of them, too, and none waits for another in vain."""
    try:
        _check_environment()
        with paths_in_reach():
            main()
    except UserError as problem:
        if not launch.is_one_of_several():
            raise
        from fastsep import distributed  # and PyTorch

        if distributed.has_tried():
            raise
        try:
            with distributed.joined():
                raise
        except UserError:  # this one, or that the others are not there
            raise problem from None


def _alone(main: Callable[[], None]) -> None:
    if launch.is_one_of_several():
        speak(warnings=True)  # whoever started it may have started this one alone
        raise UserError(
            "this command works in one process: start it without torchrun, or unset WORLD_SIZE to run it in each"
        )
    _check_environment()
    with paths_in_reach():
        main()


def _check_environment() -> None:
    if os.name != "posix":  # locks, signals and flushed directories are those of POSIX
        raise UserError("this program runs on Linux and macOS: on Windows, use it within WSL")
    try:
        os.getcwd()
    except FileNotFoundError:  # PyTorch's libraries would not be found, and say something else
        raise UserError("the current directory was deleted: change to one that is there") from None
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError("no directory for temporary files can be written: free some space, or set TMPDIR") from None
    try:
        kernels.setting()
    except ValueError as error:
        raise UserError(str(error)) from None
