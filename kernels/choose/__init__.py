"""Which implementation of an operation runs here: verified and timed on the user's own GPU, then kept.

An op asks ``chosen`` for each of its cases and registers how to make a ``Task`` of one. Before the first step a trainer
runs it once under ``asked_for``, has ``decide`` settle the cases and puts the outcome in force with ``use``.
"""

from kernels.choose.cases import Case, Task, asked_for, chosen, register, use
from kernels.choose.deciding import Choice, decide
from kernels.choose.measure import BrokenDeviceError

__all__ = ["BrokenDeviceError", "Case", "Choice", "Task", "asked_for", "chosen", "decide", "register", "use"]
