"""``python -m bench.report``: RESULTS.md, the charts and the README's numbers, all from ``bench/results``."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from bench.environment import RESULTS, ROOT
from bench.reporting.charts import draw_all
from bench.reporting.results_files import read_results
from bench.reporting.tables import readme_block, results_page
from bench.trust.table import trust_section
from fastsep.files import write_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__)
    parser.parse_args()
    devices = read_results(RESULTS)
    for device in devices:
        for path in draw_all(device, RESULTS / device.slug):
            print(f"drew {path.relative_to(ROOT)}")
    trust = RESULTS / "trust.json"
    counts = json.loads(trust.read_text()) if trust.exists() else {}
    page = "\n".join(filter(None, (results_page(devices), trust_section(counts))))
    write(ROOT / "bench" / "RESULTS.md", page)
    readme = ROOT / "README.md"
    if readme.exists():
        write(readme, replace_block(readme.read_text(), readme_block(devices)))


def replace_block(text: str, block: str) -> str:
    """``text`` with ``block`` between the markers; unchanged where there are none."""
    pattern = re.compile(f"({re.escape(BEGIN)}).*?({re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{block}\n{found[2]}", text)


def write(path: Path, text: str) -> None:
    """Write a file that is whole or absent."""
    write_text(path, text)
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
