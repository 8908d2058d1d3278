"""Everything worth running on a GPU, in one go: ``python -m bench.gpu_suite --out DIR [--minutes M]``.

Parts run in order of worth, each in its own process with its own time limit. Every number is appended to
``DIR/suite.jsonl`` as soon as it exists; a run that is cut off continues where it stopped when started again with the
same ``DIR``, or with ``--resume FILE`` naming an earlier ``suite.jsonl``. Copy the file to ``bench/results/<device>/``
and ``python -m bench.report`` draws it up. Compiling takes most of the time on a fresh machine: ``--warm-up SECONDS``,
not counted in ``--minutes``, first runs several parts at a time, for their compiled code alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from bench.environment import ROOT, describe
from bench.parts import PARTS, run_part
from bench.recorder import STOPPED, append
from bench.rows import Row, read_lines, table_lines

RESTARTS = 3
DRY_LIMIT = 60.0
COLD = ("ceilings", "tests", "generate", "cluster", "train", "train-own", "train-best", "seeds", "scaling", "tune")
"""Parts that a warm-up passes over: they compile little, or last."""
AT_A_TIME = max(2, min(6, (os.cpu_count() or 2) // 2))
"""Parts that warm up together: each has a compiler's workers, and its models on the GPU."""


def main() -> None:
    """Parse, then run one part (in a child process) or the suite."""
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "suite.jsonl"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.part:
        sys.exit(run_part(arguments.part, results, device, arguments.dry_run, arguments.limit))
    if device.type == "cpu" and not arguments.dry_run:
        print("error: no GPU here: add --dry-run to try the suite out on a CPU", file=sys.stderr)
        sys.exit(2)
    if arguments.resume and not results.exists():
        shutil.copy(arguments.resume, results)
    if arguments.warm_up:
        done = {*done_parts(results), *COLD}
        warm_up(arguments, [name for name in wanted_parts(arguments) if name not in done])
    run_suite(arguments, results, device)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m bench.gpu_suite", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="directory for suite.jsonl and suite.log [a dry run: a temporary one]")
    parser.add_argument("--minutes", type=float, default=25.0, help="stop after so many minutes [25]")
    parser.add_argument("--only", default="", help=f"comma-separated parts: {', '.join(PARTS)}")
    parser.add_argument("--resume", type=Path, help="results of an earlier run; what it holds is not run again")
    parser.add_argument(
        "--warm-up", type=float, default=0.0, metavar="SECONDS", help="first compile several parts at a time [0]"
    )
    parser.add_argument("--dry-run", action="store_true", help="each part in miniature, on a CPU where there is no GPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=600.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.only = [name for name in arguments.only.split(",") if name]
    unknown = [name for name in arguments.only if name not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    if arguments.resume and not arguments.resume.exists():
        parser.error(f"{arguments.resume} is not there: leave out --resume, or name an earlier suite.jsonl")
    if arguments.out is None:
        if not arguments.dry_run:
            parser.error("say where the results go: --out DIR")
        arguments.out = Path(tempfile.mkdtemp(prefix="fastsep-suite-"))
    return arguments


def run_suite(arguments: argparse.Namespace, results: Path, device: torch.device) -> None:
    """All parts in their order, as far as the time goes; then the table."""
    end = time.monotonic() + 60 * arguments.minutes
    if not results.exists():
        append(results, {"kind": "environment", **describe(device)})
    wanted = wanted_parts(arguments)
    for name in wanted:
        if name in done_parts(results):
            continue
        left = end - time.monotonic()
        if left < (2 if arguments.dry_run else 20):
            append(results, {"kind": "part", "part": name, "status": "no time left"})
            continue
        limit = min(left, DRY_LIMIT if arguments.dry_run else PARTS[name].limit)
        begin = time.monotonic()
        status = run_child(name, arguments, limit)
        seconds = round(time.monotonic() - begin, 1)
        append(results, {"kind": "part", "part": name, "status": status, "seconds": seconds})
        print(f"{name:12s} {status:24s} {seconds:7.1f} s", flush=True)
    print_table(results)
    lines = read_lines(results)
    failures = [line for line in lines if "failed" in line or str(line.get("absent")).startswith("failed")]
    for line in failures:
        print(f"failed: {line.get('part')} {line.get('key')}: {line.get('failed') or line.get('absent')}")
    if arguments.dry_run and (failures or done_parts(results) != set(wanted)):
        sys.exit(1)


def wanted_parts(arguments: argparse.Namespace) -> list[str]:
    """Those asked for, else all; a dry run leaves out what another part's goes through."""
    return arguments.only or [name for name, part in PARTS.items() if part.dry or not arguments.dry_run]


def warm_up(arguments: argparse.Namespace, names: list[str]) -> None:
    """Run parts, several at a time, for at most ``--warm-up`` seconds, and keep nothing but code for the GPU.

    What was timed meanwhile, on a busy device, is measured anew: choices of kernels and of tiles.
    """
    print(f"warming up: {', '.join(names)}", flush=True)
    begin = time.time()
    end = time.monotonic() + arguments.warm_up
    children: list[subprocess.Popen] = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_A_TIME) as pool:

        def run(name: str) -> None:
            place = Path(scratch) / name
            place.mkdir()
            command = part_command(name, place, max(end - time.monotonic(), 1), arguments.dry_run)
            environment = part_environment(name) | {"XDG_CACHE_HOME": str(place)}
            with (place / "log").open("w") as log:
                child = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            children.append(child)
            try:
                child.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # compilers' workers, too
                child.wait()

        try:
            list(pool.map(run, names))
        except BaseException:  # Ctrl-C: they have sessions of their own and hear nothing of it
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
            raise
    for file in inductor_cache().rglob("*.best_config"):
        if file.stat().st_mtime >= begin:
            file.unlink()


def part_command(name: str, out: Path, limit: float, dry: bool) -> list[str]:
    """What runs one part in a process of its own."""
    command = [sys.executable, "-m", "bench.gpu_suite", "--out", str(out), "--part", name, "--limit", f"{limit:.0f}"]
    return [*command, *(["--dry-run"] if dry else [])]


def part_environment(name: str) -> dict[str, str]:
    """This process's variables and the part's."""
    fixed = {"PYTHONUNBUFFERED": "1", "TORCHINDUCTOR_CACHE_DIR": str(inductor_cache())}
    return os.environ | fixed | dict(PARTS[name].env)


def inductor_cache() -> Path:
    """Where all parts keep compiled code."""
    return Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", "/tmp/fastsep-inductor"))


def done_parts(results: Path) -> set[str]:
    """Parts that ran to their end."""
    return {line["part"] for line in read_lines(results) if line["kind"] == "part" and line["status"] == "done"}


def run_child(name: str, arguments: argparse.Namespace, limit: float) -> str:
    """One part in a process of its own, started anew when it crashes; returns how it ended."""
    end = time.monotonic() + limit
    status = "no time left"
    for _ in range(RESTARTS + 1):
        left = end - time.monotonic()
        if left < 1:
            break
        command, environment = part_command(name, arguments.out, left, arguments.dry_run), part_environment(name)
        with (arguments.out / "suite.log").open("a") as log:
            try:
                # Half as much again: a row in flight at the limit may end by itself.
                code = subprocess.run(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, timeout=left + min(30, left / 2)
                ).returncode
            except subprocess.TimeoutExpired:
                return STOPPED
        if code == 0:
            return "done"
        if code == 3:
            return "no time left for all rows"
        status = f"failed, status {code}"
    return status


def print_table(results: Path) -> None:
    """A short table of what was measured; the report has the rest."""
    lines = read_lines(results)
    fields = Row.__dataclass_fields__
    rows = [Row(**{k: v for k, v in line.items() if k in fields}) for line in lines if line["kind"] == "row"]
    print("", *table_lines(rows), sep="\n")
    for line in lines:
        if line["kind"] == "note":
            short = {name: value for name, value in line.items() if isinstance(value, int | float | str)}
            text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in short.items())
            print(text.replace("kind note, ", ""))


if __name__ == "__main__":
    main()
