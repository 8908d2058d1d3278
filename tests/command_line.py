"""Runs a command line of the program within the test's process, which saves importing PyTorch again."""

from __future__ import annotations

import runpy
import sys
import warnings

import pytest


def run_command(module: str, *arguments, capsys) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of ``python -m fastsep.MODULE ARGUMENTS``."""
    status = 0
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            runpy.run_module(f"fastsep.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            status = stop.code or 0
    return status, *capsys.readouterr()
