"""Runs a function in several processes that train together, as torchrun starts them.

They are forked from a server that has imported the program once, so that a rank costs a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from fastsep.training.distributed import joined

_SECONDS = 60
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["rank_cases", "fastsep.training.loop", "fastsep.evaluation", "numba"])


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returned on each of ``size`` ranks; an exception in its place where it raised."""
    pipes, processes = [], []
    port = free_port()
    for rank in range(size):
        reader, writer = _context.Pipe(duplex=False)
        process = _context.Process(target=_run, args=(writer, rank, size, port, function, arguments), daemon=True)
        process.start()
        writer.close()
        pipes.append(reader)
        processes.append(process)
    try:
        return [_receive(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.join(_SECONDS)
            if process.is_alive():
                process.kill()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a rank on one machine."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in place.items()}}


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(_SECONDS):
        return TimeoutError("a rank hangs")
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError as error:
        return error


def _run(pipe: Connection, rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(environment(rank, size, port))
    try:
        with joined(_SECONDS / 3):
            value = function(*arguments)
    except BaseException as error:
        value = error
    pipe.send_bytes(pickle.dumps(value))
