"""Runs a command line of the program within the test's process, which saves importing PyTorch again."""

from __future__ import annotations

import runpy
import sys

import pytest


def run_command(module: str, *arguments, capsys) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of ``python -m fastsep.MODULE ARGUMENTS``."""
    status = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            runpy.run_module(f"fastsep.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            status = stop.code or 0
    return status, *capsys.readouterr()
