"""Runs a function in several processes that train together, as torchrun starts them.

They are forked from a server that has imported the program once, so that a rank costs a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore

from fastsep.distributed import joined
from fastsep.signals import Stopped

_START = 60.0  # seconds, on a busy machine
_PRELOADED = "rank_cases", "sklearn.datasets", "torch.utils.tensorboard", "tensorboard.summary", "torch._dynamo"


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any, patience: float = 20.0) -> list[Any]:
    """What ``function(*arguments)`` returned on each of ``size`` ranks; an exception in its place where it raised.

    A signal that stopped it is a text, a rank that was killed an EOFError, one that hangs a TimeoutError.

    Args:
        patience: seconds that a rank waits for the others.
    """
    # Kept here as torchrun's agent does, so that it outlives any rank.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=patience))
    pipes, processes, context = [], [], _context()
    for rank in range(size):
        reader, writer = context.Pipe(duplex=False)
        place = environment(rank, size, store.port)
        process = context.Process(target=_run, args=(writer, place, patience, function, arguments), daemon=True)
        process.start()
        writer.close()
        pipes.append(reader)
        processes.append(process)
    deadline = time.monotonic() + 2 * patience + _START
    try:
        return [_receive(pipe, deadline) for pipe in pipes]
    finally:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a rank on one machine."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    agent = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return agent | {name: str(value) for name, value in place.items()}


@cache
def _context() -> BaseContext:
    """With its server, which looks for what it imports in PYTHONPATH alone, and passes over what it does not find."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def _receive(pipe: Connection, deadline: float) -> Any:
    if not pipe.poll(max(0.0, deadline - time.monotonic())):
        return TimeoutError("a rank hangs")
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError as error:
        return error


def _run(pipe: Connection, place: dict[str, str], patience: float, function: Callable[..., Any], arguments: tuple):
    torch.set_num_threads(1)
    os.environ.update(place)
    try:
        with joined(patience):
            value = function(*arguments)
    except Stopped as stop:  # which cannot be pickled
        value = str(stop)
    except BaseException as error:
        value = error
    pipe.send_bytes(pickle.dumps(value))
