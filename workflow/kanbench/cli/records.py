"""Verbs about records: `collect`, `choose`, `pack`, `unpack`."""

from __future__ import annotations

from argparse import Namespace

from kanbench.base import paths
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import collect as collecting

TUNING = "workflow/config/tuning.yaml"


def collect(options: Namespace) -> None:
    """`collect`: plan and records to a record set."""
    folder = options.output or options.plan.parent
    found = collecting.gather(collecting.read_plan(options.plan), options.plan.parent / "runs")
    collecting.write(found.records, folder)
    print(f"{len(found.records) - len(found.absent)} of {len(found.records)} planned runs collected into {folder}")
    for title, names in (("absent", found.absent), ("set aside: another protocol", found.set_aside)):
        for name in names:
            print(f"  {title}: {name}")


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


def pack(options: Namespace) -> None:
    """`pack`: records to an archive."""
    archive = options.output or options.study.with_name(options.study.name + ".tar.gz")
    print(f"{collecting.pack(options.study, archive)} records in {archive} ({archive.stat().st_size / 2**20:.2f} MiB)")


def unpack(options: Namespace) -> None:
    """`unpack`: an archive into a study."""
    merged = collecting.unpack(options.archive, options.into)
    print(f"{merged['added']} records added to {options.into}, {merged['equal']} were there already")
