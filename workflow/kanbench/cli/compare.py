"""The verb `compare`: does a second run agree, and does today's code still give the published numbers?"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from kanbench.base.errors import Finding, InvalidInput


def compare(options: Namespace) -> int:
    """`compare`: two record sets; or with `--sample` random runs of one, made again."""
    if options.sample is not None:
        return _again(options)
    if options.published is None:
        step = "python -m kanbench compare results/laptop results/reference"
        raise InvalidInput(
            [Finding("compare", "", "one record set", "two: the one made here, the published one", step)]
        )
    from kanbench.pages import compare as comparing

    compared = comparing.of(options.records, options.published)
    for path in comparing.write(compared, options.output) if options.output else ():
        print(path)
    print(compared.line)
    return 0


def _again(options: Namespace) -> int:
    """Repeat random runs; the exit status is 1 where they give other numbers."""
    from kanbench.pages import compare as comparing
    from kanbench.pages import repeated
    from kanbench.records import frame
    from kanbench.study import again

    if options.published is not None or options.sample < 1:
        found = f"{options.sample} runs of {'two record sets' if options.published else 'one record set'}"
        raise InvalidInput([Finding("compare", "--sample", found, "at least 1 run of one set", "name one folder")])
    records = frame.read_records(options.records)
    runs, made = again.chosen(records, options.sample, options.longest, options.seed), []
    published = comparing.keyed(frame.to_frame(records), records)
    for record in again.repeated(runs, options.data_root):
        made.append(record)
        print(repeated.of("", [record], published).lines()[0], flush=True)
    found = repeated.of(Path(options.records).name, made, published)
    print(found.line)
    return 0 if found.agrees else 1
