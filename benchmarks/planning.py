"""What it costs to plan the full study, beside limits:

    python benchmarks/planning.py [--study workflow/config/paper.yaml] [--one-seed]

Printed are the runs that the study plans, the jobs that Snakemake makes of those that are due, seconds of the expansion
alone, seconds (by the clock, and of the processor) and peak resident memory of `snakemake --dry-run`, and the limits
(`LIMITS`). Data sets that are not on disk count as if they were there (`download: true`), so that the grid is whole
everywhere; a dry run fetches nothing.
`--one-seed` plans one seed of every experiment instead, as `.ci/run` does. Exits with 1 where a limit is passed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from kanbench.base import paths, schema
from kanbench.study import config, plan

LIMITS = {"seconds": 45.0, "gib": 1.2}
"""Of a dry run of the full study, one thread of a quiet machine."""


def one_seed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a study with the first seed alone, under a name of its own."""
    experiments = {
        key: {**value, "seeds": value["seeds"][:1]} if "seeds" in value else value
        for key, value in content["experiments"].items()
    }
    own = {"study": f"{content['study']}_of_one_seed", "seeds": content["seeds"][:1], "experiments": experiments}
    return {**content, **own}


def dry_run(file: Path) -> tuple[int, float, float, float]:
    """Return jobs, seconds, seconds of the processor and peak resident memory in GiB of a dry run of a study."""
    options = ["--cores", "1", "--dry-run", "--configfile", str(file)]
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--quiet", "rules", *options, "--", "all"],
            cwd=paths.root(), stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        output.seek(0)
        text = output.read()
    found = re.search(r"^total\s+(\d+)$", text, flags=re.MULTILINE)
    if process.returncode or found is None:
        raise SystemExit(text)
    unit = 1 if sys.platform == "darwin" else 2**10
    return int(found[1]), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**30


def main() -> int:
    """Print the line of a study; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("workflow/config/paper.yaml"))
    parser.add_argument("--one-seed", action="store_true")
    options = parser.parse_args()
    content = {**schema.read_yaml(options.study, str(options.study)), "download": True}
    content = one_seed(content) if options.one_seed else content
    started = time.perf_counter()
    runs = len(plan.expand(config.from_content(content, str(options.study))).runs)
    expansion = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "planning.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        jobs, seconds, processor, gib = dry_run(file)
    most_seconds, most_gib = LIMITS["seconds"], LIMITS["gib"]
    print("   runs    jobs  expand / s  dry run / s  limit  processor / s  peak / GiB  limit")
    timed = f"{expansion:>11.2f} {seconds:>12.1f} {most_seconds:>6g} {processor:>14.1f}"
    print(f"{runs:>7} {jobs:>7} {timed} {gib:>11.2f} {most_gib:>6g}")
    return int(seconds > most_seconds or gib > most_gib)


if __name__ == "__main__":
    sys.exit(main())
