"""How long the workflow takes to plan 3,000 runs:  python benchmarks/planning.py

Prints seconds of the expansion alone and of a whole `snakemake --dry-run`, side by side with a study of 30 runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from kanbench.base import paths, schema
from kanbench.study import config, plan

STUDY = "workflow/config/smoke.yaml"


def study(runs: int) -> dict:
    """Return a study with `runs` runs of one method on one task."""
    content = schema.read_yaml(paths.root() / STUDY, STUDY)
    content["study"], content["seeds"] = "planning", list(range(runs))
    content["experiments"] = {"E1": {**content["experiments"]["E1"], "methods": ["mlp"]}}
    return content


def main() -> None:
    """Print the table."""
    print(f"{'runs':>6} {'expand / s':>12} {'dry run / s':>12}")
    for runs in (30, 3000):
        content = study(runs)
        started = time.perf_counter()
        planned = len(plan.expand(config.from_content(content, "planning.yaml")).runs)
        expanded = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "planning.yaml"
            file.write_text(yaml.safe_dump(content), encoding="utf-8")
            command = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--quiet", "all"]
            started = time.perf_counter()
            subprocess.run([*command, "--configfile", str(file)], cwd=paths.root(), check=True, capture_output=True)
        print(f"{planned:>6} {expanded:>12.2f} {time.perf_counter() - started:>12.2f}")


if __name__ == "__main__":
    main()
