"""Ways in which a file can be wrong: bits, bytes, numbers in headers, blocks lost or doubled, words of a text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63,
    2**64 - 1,
)
_WORDS = (
    "", "0", "-1", "1e999", "-1e308", "NaN", "Infinity", "null", "true", '"x"', "[]", "{}", "[" * 2000, "9" * 400,
    "1.5",
    '"\\u0000"', "\ufeff", "18446744073709551616", "'", ",", "\n", "\x00", '{"a": {}}', "../../etc/passwd", "é" * 50,
)  # fmt: skip
_TOKEN = re.compile(rb'"[^"\n]*"|[-+.\w]+|[{}\[\]:,]|\s+')


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A changed copy of ``data``, by one to three ways in turn.

    Args:
        other: bytes of something else, to splice in.
    """
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        ways = (*_WAYS, _word, _word, _word) if _is_text(data) else _WAYS
        data = chance.choice(ways)(data, other, chance)
    return data


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:1000] and data[:1].isascii()


def _place(data: bytes, chance: random.Random) -> int:
    """An offset: half of the time near the ends, where headers and tables of contents are."""
    size = max(1, len(data))
    kind = chance.random()
    if kind < 0.35:
        return chance.randrange(min(size, 2048))
    return size - 1 - chance.randrange(min(size, 1024)) if kind < 0.5 else chance.randrange(size)


def _bits(data: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _byte(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _number(data: bytes, other: bytes, chance: random.Random) -> bytes:
    size = chance.choice((1, 2, 4, 8))
    at = _place(data, chance)
    at -= at % size if chance.random() < 0.5 else 0
    value = chance.choice(_NUMBERS) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, chance.choice(("little", "big"))) + data[at + size :]


def _block(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at, size = _place(data, chance), _length(data, chance)
    filling = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size), other[:size]))
    return data[:at] + filling + data[at + size :]


def _cut(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _extend(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data + chance.choice((b"\0", bytes(4096), chance.randbytes(100), other[:4096], data[:4096]))


def _remove(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + _length(data, chance) :]


def _repeat(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at : at + _length(data, chance)] + data[at:]


def _move(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at, to, size = _place(data, chance), _place(data, chance), _length(data, chance)
    return data[:to] + data[at : at + size] + data[to + size :]


def _splice(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + other[at:] if chance.random() < 0.5 else other[:at] + data[at:]


def _word(data: bytes, other: bytes, chance: random.Random) -> bytes:
    tokens = _TOKEN.findall(data) or [data]
    at = chance.randrange(len(tokens))
    new = chance.choice((*_WORDS, *(token.decode(errors="replace") for token in tokens[:20])))
    tokens[at : at + 1] = [new.encode()] if chance.random() < 0.9 else []
    return b"".join(tokens)


def _length(data: bytes, chance: random.Random) -> int:
    return chance.choice((1, 2, 4, 16, 64, 512, max(1, len(data) // 4)))


_WAYS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _bits, _bits, _byte, _number, _number, _block, _cut, _extend, _remove, _repeat, _move, _splice,
)  # fmt: skip
