"""The processes that work on one thing together, as torchrun or a batch system starts them: how they meet and end.

The environment says who is who (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). Where it says nothing there is
one process, no process group, and nothing here costs anything.

A rank that fails writes into the group's store that it was the first, then tells the user and ends. The others find
their connections closed, read that somebody has told, and end without a word.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from fastsep import launch
from fastsep.errors import ToldElsewhere, UserError, first_line, paths_in_reach, speak
from fastsep.signals import OF_JOBS, SIGNALS, Stopped, is_heeded
from fastsep.world import ALONE, World

_MOST = 1_000_000  # ranks; more is a slip
_ANSWER = 5.0  # seconds
_LOOKS = 0.02  # seconds between rank 0's looks for who has come
_CLOSED_AFTER = "Application timeout caused pair closure"
"""All that gloo says, of all exchanges under way but the one that timed out."""


class LostError(UserError):
    """Another rank is gone, or did not answer in time."""

    seconds_after_cause = 2  # until torchrun has noticed as well


_world = ALONE
_tried = False


def current() -> World:
    """Who works together now."""
    return _world


def has_tried() -> bool:
    """Whether this process has looked for the others, and has told or heard from them what went wrong since."""
    return _tried


@contextmanager
def joined(patience: float = 600.0, remedy: str = "start it again") -> Iterator[World]:
    """Be one of the ranks within the block, if the environment says that there are some.

    Args:
        patience: seconds that a rank waits for the others before it gives up.
        remedy: what to do when one is lost.

    Raises:
        UserError: they do not find each other; LostError: one of them is gone.
        ToldElsewhere: another rank has said what is wrong.
    """
    global _world, _tried
    _tried = True
    missing = launch.missing()
    if missing:
        if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
            raise UserError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']} in the environment, without {', '.join(missing)}: start the "
                "processes with torchrun, or unset WORLD_SIZE"
            )
        yield _world
        return
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    if not rank < size <= _MOST:
        raise UserError(f"RANK is {rank} and WORLD_SIZE {size} in the environment: start the processes with torchrun")
    local_rank, local_size = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", size)
    world = World(rank, size, local_rank, local_size, joined=True)
    with _signals_that_end():
        store = _meet(world, timedelta(seconds=patience))
    speak(warnings=world.is_first)  # of those that fail from here on the store knows the first
    try:
        agents, restarts = zip(*world.gather((_agent(), _number("TORCHELASTIC_RESTART_COUNT"))), strict=True)
        _world = replace(world, agents=frozenset(filter(None, agents)), restarts=max(restarts))
        with paths_in_reach():
            yield _world
        _world.barrier()  # whoever keeps the store must not be the first to go
        dist.destroy_process_group()
    except Exception as error:
        lost = _is_lost(error)
        if not _is_first_to_fail(store):
            raise ToldElsewhere(2 if lost or isinstance(error, UserError) else 1) from None
        if not lost:
            raise
        reason = _reason(error)
        if re.search("timed? ?out", reason, re.IGNORECASE):
            remedy += "; a longer --timeout helps where it was only slow"
        raise LostError(f"rank {rank} lost another one, which died or hangs ({reason}): {remedy}") from None
    except Stopped as stop:
        if not _is_first_to_fail(store):
            raise ToldElsewhere(stop.status) from None
        raise
    finally:
        _world = ALONE


def _meet(world: World, patience: timedelta) -> dist.Store:
    """Make the process group; returns its store, which knows who failed first."""
    has_gpus = torch.cuda.is_available() and dist.is_nccl_available()
    if has_gpus and world.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(world.local_rank)  # what "cuda" means in this process
    backend = "cpu:gloo,cuda:nccl" if has_gpus else "gloo"
    try:
        store, rank, size = next(iter(dist.rendezvous("env://", timeout=patience)))
        store.set_timeout(patience)
        own = dist.PrefixStore(_agree_on_place(store, world, patience.total_seconds()), store)
        dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=patience)
        world.barrier()
    except (RuntimeError, ValueError) as error:  # of sockets and of time that ran out, too
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"rank {world.rank} of {world.size} does not meet the others at {address} ({_reason(error)}): is the port "
            "taken, is it closed, were fewer processes started?"
        ) from None
    return own


def _agree_on_place(store: dist.Store, world: World, patience: float) -> str:
    """Where in the store these ranks, and none before them, leave what they tell each other.

    torchrun keeps one store through all that it starts anew, and several of them count differently how often that was.
    So each rank leaves a name of its own; rank 0 sends the place to every name that it finds, and waits until the
    names of all ranks have thanked: those of processes that are gone never do.

    Raises:
        RuntimeError: some have not come in time.
    """
    own = uuid.uuid4().hex
    if not world.is_first:
        store.set(f"fastsep/rank/{world.rank}", own)
        place = store.get(f"fastsep/place/{own}").decode()
        store.set(f"{place}/{own}", "")
        return place
    missing, end = set(range(1, world.size)), time.monotonic() + patience
    while missing:
        for rank in list(missing):
            if store.check([f"fastsep/rank/{rank}"]):
                name = store.get(f"fastsep/rank/{rank}").decode()
                store.set(f"fastsep/place/{name}", own)
                if store.check([f"{own}/{name}"]):
                    missing.remove(rank)
        if missing and time.monotonic() > end:
            few = ", ".join(map(str, sorted(missing)[:8])) + (", ..." if len(missing) > 8 else "")
            raise RuntimeError(f"rank {few} not there after {patience:g} s")
        time.sleep(_LOOKS if missing else 0)
    return own


@contextmanager
def _signals_that_end() -> Iterator[None]:
    """Signals end the process at once: nothing is to be saved yet, and who waits for others would not hear of them."""
    heeded = threading.current_thread() is threading.main_thread()
    taken = [signum for signum in SIGNALS if heeded and signal.getsignal(signum) not in (signal.SIG_IGN, None)]
    taken += [signum for signum in OF_JOBS if heeded and is_heeded(signum)]
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in taken}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _is_lost(error: Exception) -> bool:
    """Whether a library says that another process does not answer any more."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in ("/gloo/", _CLOSED_AFTER))


def _reason(error: Exception) -> str:
    """What a library says, without the place in its source and its advice."""
    said = first_line(error)
    if _CLOSED_AFTER in said:
        return "Timed out"
    return (said.rpartition("cc:")[2].partition("] ")[2].partition(". ")[0] or said).rstrip(".")


def _is_first_to_fail(store: dist.Store) -> bool:
    """Whether no other rank has failed yet, as far as can be told: whoever keeps the store may be gone or cut off."""
    answers = []

    def ask() -> None:
        with suppress(RuntimeError):
            answers.append(store.add("failed", 1))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER)
    return answers in ([], [1])


def _number(name: str, default: int = 0) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise UserError(f"{name} is '{value}' in the environment: start the processes with torchrun")
    return int(value)


def _agent() -> str | None:
    """The launcher that starts this process anew when it fails, None for any other parent."""
    if not dist.is_torchelastic_launched():
        return None
    parent = os.getppid()
    try:  # process numbers are used again: when it was started tells two apart
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = ""
    return f"{socket.gethostname()} {parent} {started}"
