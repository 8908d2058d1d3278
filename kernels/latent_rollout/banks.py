"""What a kernel's loop does with shared memory, read from its PTX: no GPU is needed, and none would say it as plainly.

Addresses of shared memory depend on the thread's index alone, as a rule, so a small evaluator of integer instructions
finds them for all threads of a program. The memory has 32 banks of four bytes; a warp's access takes one cycle for each
word that the busiest bank must give.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

WARP = 32
_BANKS, _WORD, _MASK = 32, 4, 0xFFFFFFFF
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
_SCALAR = re.compile(r"(?:ld|st)\.shared(?:\.v(\d))?\.\w(\d+)\s.*?\[\s*([%\w]+)\s*(?:\+\s*(-?\d+))?\s*\]")
_MATRIX = re.compile(r"(?:ld|st)matrix\S*\.x(\d)\S*\s.*?\[\s*([%\w]+)\s*(?:\+\s*(-?\d+))?\s*\]")
_RESULT = re.compile(r"(\w[\w.]*)\s+(%\w+),\s*(.*)")
_NUMBER = re.compile(r"-?\d+|0x[0-9A-Fa-f]+U?")
_BRANCH = re.compile(r"bra(?:\.uni)?\s+(\S+)")
_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "mov": lambda a: a,
    "cvt": lambda a: a,
    "not": lambda a: ~a,
    "neg": lambda a: -a,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "mad": lambda a, b, c: a * b + c,
    "bfe": lambda a, b, c: (a >> b) & ((1 << c) - 1),
    "selp": lambda a, b, p: np.where(p != 0, a, b),
    "prmt": lambda a, b, c: sum(_byte(a | b << 32, c >> 4 * k & 15) << 8 * k for k in range(4)),
}


def _byte(pair: np.ndarray, which: np.ndarray) -> np.ndarray:
    """A byte of eight, or with bit 3 of ``which`` its sign, eight times."""
    byte = pair >> 8 * (which & 7) & 255
    return np.where(which & 8, (byte >> 7) * 255, byte)


@dataclass(frozen=True)
class Traffic:
    """Of the instructions in a kernel's loops, over all warps of a program."""

    cycles: int
    """of shared memory, as far as addresses are known"""
    conflicts: int
    """cycles more than the bytes need"""
    unknown: int
    """accesses whose addresses depend on more than the thread's index"""
    shuffles: int
    barriers: int


def loop_traffic(ptx: str, threads: int) -> Traffic:
    """Read one kernel's PTX for a program of so many threads."""
    lines = [line.strip().rstrip(";") for line in ptx.splitlines()]
    repeated = _lines_in_loops(lines)
    words: Counter[str] = Counter()
    for at in repeated:
        found = re.match(r"(?:@!?%p\d+\s+)?(shfl|bar|barrier)\.", lines[at])
        words[found[1] if found else ""] += 1
    cycles = needed = unknown = 0
    for at, addresses, size in _accesses(lines, threads):
        if at not in repeated:
            continue
        if addresses is None:
            unknown += 1
            continue
        for warp in addresses.reshape(-1, WARP):
            taken, least = _warp_cycles(warp, size)
            cycles, needed = cycles + taken, needed + least
    return Traffic(cycles, cycles - needed, unknown, words["shfl"], words["bar"] + words["barrier"])


def _lines_in_loops(lines: list[str]) -> set[int]:
    """Lines of the basic blocks from which control can come back to them."""
    starts, names = [0], {}
    for at, line in enumerate(lines):
        if re.match(r"\$L__BB\S*:", line):
            starts.append(at)
            names[line.split(":")[0]] = len(starts) - 1
        elif _BRANCH.search(line):
            starts.append(at + 1)
    ends = [*starts[1:], len(lines)]
    follow = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        body = [line for line in lines[start:end] if line]
        jump = _BRANCH.search(body[-1]) if body else None
        to = {names[jump[1]]} if jump else set()
        if not (body and (body[-1] == "ret" or (jump and not body[-1].startswith("@")))) and index + 1 < len(starts):
            to.add(index + 1)
        follow.append(to)
    repeated: set[int] = set()
    for index in range(len(starts)):
        seen, stack = set(), list(follow[index])
        while stack:
            block = stack.pop()
            if block not in seen:
                seen.add(block)
                stack.extend(follow[block])
        if index in seen:
            repeated.update(range(starts[index], ends[index]))
    return repeated


def _accesses(lines: list[str], threads: int) -> Iterator[tuple[int, np.ndarray | None, int]]:
    """Line, byte addresses of all threads (None where unknown) and size of each access; a negative size is a number of
    8 x 8 matrices."""
    values = _evaluate(lines, threads)
    for at, line in enumerate(lines):
        for pattern, matrix in ((_SCALAR, False), (_MATRIX, True)):
            if found := pattern.search(line):
                base = values.get(found[3 - matrix])
                size = -int(found[1]) if matrix else int(found[1] or 1) * _BYTES[found[2]]
                yield at, None if base is None else base + int(found[4 - matrix] or 0), size


def _evaluate(lines: list[str], threads: int) -> dict[str, np.ndarray]:
    """Integer registers for all threads, up to what does not move a bank, those left out that vary otherwise."""
    instructions = [found.groups() for found in map(_RESULT.match, lines) if found]
    varying: set[str] = set()
    while True:
        known = {"%tid.x": np.arange(threads), "global_smem": np.zeros(threads, dtype=np.int64)}
        before = len(varying)
        for instruction, name, operands in instructions:
            value = _result(instruction, [part.strip() for part in operands.split(",")], known)
            if name in varying or value is None:
                known.pop(name, None)
                varying.add(name)
            elif name in known:  # one of several definitions: which tile of several alike, or what changes every turn
                if not _same_banks(value, known[name]):
                    varying.add(name)
            else:
                known[name] = value
        if len(varying) == before:
            return known


def _number(text: str) -> np.int64:
    return np.int64(int(text.rstrip("U"), 0))


def _same_banks(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether addresses are the same to the banks: all moved by one multiple of a row."""
    moved = np.atleast_1d(a - b)
    return not (moved != moved[0]).any() and not moved[0] % (_BANKS * _WORD)


def _result(instruction: str, parts: list[str], known: dict[str, np.ndarray]) -> np.ndarray | None:
    """What an instruction gives each thread, None where that is not known."""
    name, *modifiers = instruction.split(".")
    operands = [_number(part) if _NUMBER.fullmatch(part) else known.get(part) for part in parts]
    if name == "selp" and operands[2] is None and operands[0] is not None and operands[1] is not None:
        # One of several tiles that are alike.
        return operands[0] + np.zeros_like(known["%tid.x"]) if _same_banks(operands[0], operands[1]) else None
    if any(operand is None for operand in operands):
        return None
    if name == "setp" and modifiers[0] in _COMPARE and len(operands) == 2:
        return _COMPARE[modifiers[0]](*operands).astype(np.int64)
    if name not in _OPERATIONS:
        return None
    value = _OPERATIONS[name](*operands) + np.zeros_like(known["%tid.x"])
    return value if modifiers[-1].endswith("64") or "wide" in modifiers else value & _MASK


def _warp_cycles(addresses: np.ndarray, size: int) -> tuple[int, int]:
    """Cycles that one warp's access takes and needs: 16 bytes a thread go by eight threads, 8 bytes by sixteen, and a
    matrix by its eight rows of 16 bytes."""
    if size < 0:
        addresses, size = addresses[: 8 * -size], 16
    group = WARP if size <= _WORD else WARP * _WORD // size
    taken = needed = 0
    for part in addresses.reshape(-1, min(group, len(addresses))):
        words = np.unique(part[:, None] // _WORD + np.arange(max(1, size // _WORD)))
        taken += np.bincount(words % _BANKS).max()
        needed += -(-len(words) // _BANKS)
    return int(taken), int(needed)
