"""Random numbers that are a function of the seed and the step, not of what was drawn before.

So a run that was interrupted anywhere goes on as the unbroken one would have, on whatever device.
"""

from __future__ import annotations

import hashlib


def key(seed: int, step: int, what: str) -> int:
    """A number of 63 random bits for one purpose at one step (or epoch) of a run; any integers will do.

    BLAKE2b of the three: two runs, steps or purposes have nothing in common.
    """
    digest = hashlib.blake2b(f"{seed}:{step}:{what}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def integer(seed: int, step: int, what: str, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, both included; the bias is below 1e-15 for any span that occurs here."""
    return low + key(seed, step, what) % (high - low + 1)
