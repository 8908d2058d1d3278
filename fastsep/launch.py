"""What the environment says of processes that were started together, as by torchrun. Needs no PyTorch."""

from __future__ import annotations

import os

REQUIRED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Without each of these a process is alone."""


def missing() -> list[str]:
    """Those that are not there."""
    return [name for name in REQUIRED if not os.environ.get(name)]


def is_one_of_several() -> bool:
    """Whether this process was started together with others."""
    return not missing() and os.environ["WORLD_SIZE"] != "1"


def is_first_here() -> bool:
    """Whether it is alone, or the first of its machine."""
    if not is_one_of_several():
        return True
    local_rank = os.environ.get("LOCAL_RANK") or os.environ["RANK"]
    return not local_rank.isdecimal() or int(local_rank) == 0


def quieten() -> None:
    """Keep PyTorch's libraries from dumping their stacks when another process is gone, unless they are asked to.

    What gloo and the store know comes as an exception as well, whose line is told. It holds where PyTorch is not
    imported yet.
    """
    if is_one_of_several():
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
