"""What was chosen on this machine so far: ``python -m kernels.choose``."""

from __future__ import annotations

import argparse
import json
import warnings
from typing import Any

from kernels.cache_directory import cache_directory
from kernels.choose import cache


def main() -> None:
    """Print the choices of every machine in the cache."""
    about = "Print how each layer runs on this machine's GPUs: what was chosen (*), and the times of all ways."
    argparse.ArgumentParser("python -m kernels.choose", description=about).parse_args()
    directory = cache_directory()
    files = sorted(directory.glob("choices-*.json")) if directory else []
    if not files:
        print(f"no choices in {directory or 'a home directory'}: training on a GPU makes them, unless with --tune off")
    for file in files:
        try:
            facts = json.loads(file.read_text())["machine"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{file} cannot be read ({error}): delete it", stacklevel=2)
            continue
        print(", ".join(f"{name} {value}" for name, value in facts.items()))
        print("\n".join(table(cache.read(file, facts))))


def table(choices: dict[str, Any]) -> list[str]:
    """A line a case: what is used (*), the times of all candidates, and why some are out."""
    lines = []
    for name, choice in sorted(choices.items()):
        times = [f"{'*' if c == choice['use'] else ''}{c} {us:.0f} us" for c, us in choice["us"].items()]
        out = [f"{c} out: {why}" for c, why in choice["out"].items()]
        lines.append(f"  {name}: {', '.join([*times, *out])}")
    return lines


if __name__ == "__main__":
    main()
