"""Verbs about records: `collect`, `choose`, `pack`, `unpack`."""

from __future__ import annotations

from argparse import Namespace

from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import collect as collecting


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
    """`choose`: settings that the studies leave open, by validation scores."""
    from kanbench.base import atomic, spreadsheet
    from kanbench.records import frame
    from kanbench.study import choice

    try:
        table = choice.choose(frame.read_records(options.records))
    except ValueError as error:
        step = "run `make tuning`, which trains that study"
        raise InvalidInput([Finding(str(options.records), "", str(error), "records of tuning.yaml", step)]) from error
    atomic.write_text(options.output, spreadsheet.to_csv(table))
    print(table.to_string(index=False))


def pack(options: Namespace) -> None:
    """`pack`: records to an archive."""
    archive = options.output or options.study.with_name(options.study.name + ".tar.gz")
    print(f"{collecting.pack(options.study, archive)} records in {archive} ({archive.stat().st_size / 2**20:.2f} MiB)")


def unpack(options: Namespace) -> None:
    """`unpack`: an archive into a study."""
    merged = collecting.unpack(options.archive, options.into)
    print(f"{merged['added']} records added to {options.into}, {merged['equal']} were there already")
