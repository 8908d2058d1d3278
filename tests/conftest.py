"""Shared by all tests: threads of workers, signals that are heeded, GPU tests skipped where there is no GPU, seeds."""

import os
import signal
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; read when PyTorch is imported

import pytest
import torch


def pytest_configure():
    """Heed signals that whoever started the tests had ignored (nohup, a script's background): programs inherit that."""
    for sign, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(sign) is signal.SIG_IGN:
            signal.signal(sign, usual)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    """What earlier tests compiled of the same code counts against a limit, after which nothing is compiled any more."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
