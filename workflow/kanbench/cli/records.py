"""Verbs about records: `collect`, `choose`, `pack`, `unpack`."""

from __future__ import annotations

import sys
from argparse import Namespace

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import archive as archives
from kanbench.records import collect as collecting

TUNING = "workflow/config/tuning.yaml"


def collect(options: Namespace) -> int:
    """`collect`: plan and records to a record set; the exit status is 1 where a file is no record."""
    folder, study = options.output or options.plan.parent, options.plan.parent
    found = collecting.gather(collecting.read_plan(options.plan), study / "runs")
    lost = [] if options.fewer else collecting.poorer(found, folder)
    moved = collecting.set_aside(found.problems, study)
    problems = [finding for each in found.problems.values() for finding in each]
    if lost:
        raise InvalidInput([*problems, *lost])
    collecting.write(found.records, folder)
    print(f"{len(found.records) - len(found.absent)} of {len(found.records)} planned runs collected into {folder}")
    for name in found.absent:
        print(f"  absent: {name}")
    for place in moved:
        print(f"  set aside: {place}")
    if problems:
        print(f"kanbench collect: {InvalidInput(problems)}", file=sys.stderr)
    return int(bool(problems))


def choose(options: Namespace) -> None:
    """`choose`: learning rates, settings and references, by validation scores; then the trials of the next round."""
    from kanbench.records import frame
    from kanbench.study import choosing, config

    study = config.load(options.configfile or paths.root() / TUNING)
    folder = options.records if options.records.is_dir() else options.records.parent
    try:
        done = choosing.choose(frame.read_records(options.records), study.content["experiments"], folder)
    except ValueError as error:
        step = "run `make tuning`, which trains that study"
        raise InvalidInput([Finding(str(options.records), "", str(error), f"records of {TUNING}", step)]) from error
    references = options.references or options.output.with_name("references.csv")
    done.write(options.output, references)
    print(done.text)
    print(f"written: {options.output}, {references}")


def pack(options: Namespace) -> int:
    """`pack`: records to an archive; the exit status is 1 where files that are none were left out."""
    archive = options.output or options.study.with_name(options.study.name + ".tar.gz")
    count, problems = archives.pack(options.study, archive)
    print(f"{count} records in {archive} ({archive.stat().st_size / 2**20:.2f} MiB)")
    if problems:
        print(f"kanbench pack: left out: {InvalidInput(problems)}", file=sys.stderr)
    return int(bool(problems))


def unpack(options: Namespace) -> None:
    """`unpack`: an archive into a study."""
    merged = archives.unpack(options.archive, options.into)
    print(f"{merged['added']} records added to {options.into}, {merged['equal']} were there already")
