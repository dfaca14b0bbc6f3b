"""The command line: every rule of the workflow is one verb here, and every verb can be typed by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kanbench.base.errors import KanbenchError
from kanbench.cli import baselines, bundles, compare, data, failures, listing, pages, records, run, study

EPILOG = "Each verb has its own --help. The workflow calls the same verbs: `snakemake -np` prints their lines."


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = argparse.ArgumentParser(prog="python -m kanbench", description=__doc__, epilog=EPILOG)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _inspect(verbs)
    _work(verbs)
    _serve(verbs)
    _render(verbs)
    _compare(verbs)
    _mend(verbs)
    _exchange(verbs)
    _bundle(verbs)
    _extend(verbs)
    return top


def _verb(verbs, name: str, action, text: str) -> argparse.ArgumentParser:
    added = verbs.add_parser(name, help=text, description=text)
    added.set_defaults(action=action)
    return added


def _config(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--configfile", type=Path, help="study to read (default: workflow/config/laptop.yaml)")
    verb.add_argument("--only", help="experiments to keep, such as E1,E5")
    verb.add_argument("--look", type=int, help="look to plan (default: the last that was begun, else the first)")


def _inspect(verbs) -> None:
    verb = _verb(verbs, "list", listing.show, "List what there is: methods, tasks, axes, recipes, studies.")
    verb.add_argument(
        "what",
        nargs="?",
        choices=["methods", "tasks", "axes", "recipes", "studies", "all"],
        default="all",
        help="one of them alone",
    )
    verb = _verb(verbs, "plan", study.plan, "Check a study and print its runs, without running anything.")
    _config(verb)
    verb.add_argument("--json", action="store_true", help="print the specs, one JSON document a line")
    verb.add_argument(
        "--write", action="store_true", help="write results/<study>/plan.json, as a run of the study does"
    )
    verb.add_argument("--match", default="", metavar="TEXT", help="keep runs whose name contains TEXT")
    verb.add_argument("--cost", action="store_true", help="print runs, hours and peak memory by experiment instead")
    verb.add_argument(
        "--records",
        type=Path,
        help="records that --cost learns from (default: those of the study, and results/reference)",
    )
    verb = _verb(verbs, "status", study.status, "Tell how far a study is: done, planned, failed, time left.")
    _config(verb)
    verb.add_argument("--watch", action="store_true", help="draw a progress bar until the study is done")


def _work(verbs) -> None:
    for name, action, text in (
        ("train", run.train, "Train and measure one run, given its spec, and write its record."),
        ("profile", run.profile, "Measure one training step, given its spec: memory by phase, and time."),
    ):
        verb = _verb(verbs, name, action, text)
        several = {"action": "append"} if name == "train" else {}
        verb.add_argument("--spec", required=True, help="the spec as JSON, or @FILE to read it from a file", **several)
        verb.add_argument("--output", required=True, type=Path, help="where the record goes", **several)
        if name == "train":
            verb.epilog = "Give --spec and --output several times to train runs that differ in their seed together."
            verb.add_argument(
                "--data-root", type=Path, help="folder of the data sets (default: $KANBENCH_DATA, then .data)"
            )
            text = "folder below which other runs left their weights (default: that of --output)"
            verb.add_argument("--runs", type=Path, help=text)
        verb.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
        verb.add_argument("--exclusive", action="store_true", help="keep other runs off the device")
        _limits(verb)
    verb = _verb(verbs, "data", data.data, "Check a data set, or download it on explicit request.")
    verb.add_argument("name", help="a data set that a task names (`list tasks`)")
    verb.add_argument("--root", type=Path, help="folder of the data sets (default: $KANBENCH_DATA, then .data)")
    verb.add_argument("--download", action="store_true", help="fetch what is missing")
    verb.add_argument("--stamp", type=Path, help="write a file that says what was checked")


def _limits(verb: argparse.ArgumentParser) -> None:
    """Say what ends a run from outside (`limits` of a study)."""
    text = "most memory of the run and the processes that it starts (default: 80 %% of the machine's)"
    verb.add_argument("--memory-gib", type=float, help=text)
    text = "what training may take beyond timeout_seconds before it is ended inside a step (default: 60)"
    verb.add_argument("--grace-seconds", type=float, default=60.0, help=text)
    text = "longest time without a step or another sign of life (default: 3600; 0: any)"
    verb.add_argument("--stall-seconds", type=lambda given: float(given) or None, default=3600.0, help=text)
    verb.add_argument("--unwatched", action="store_true", help="do the work in this process, for a debugger")


def _serve(verbs) -> None:
    verb = _verb(verbs, "serve", run.serve, "Keep packages imported for the verbs that another process starts.")
    verb.add_argument("socket", type=Path, help="path of the socket to listen on, in a folder of its own")
    verb.add_argument("--parent", type=int, required=True, metavar="PID", help="end when this process is gone")


def _render(verbs) -> None:
    verb = _verb(verbs, "collect", records.collect, "Gather the records of a plan into records.jsonl.gz and .csv.")
    verb.add_argument("--plan", required=True, type=Path, help="the plan.json of the study")
    verb.add_argument("--output", type=Path, help="folder to write to (default: that of the plan)")
    verb.add_argument("--fewer", action="store_true", help="replace a record set that has results of more runs")
    for name, action, text in (
        ("render", pages.render, "Draw one figure or table from a record set."),
        ("claims", pages.claims, "Compare the claims of the paper with a record set."),
        ("report", pages.report, "Write one self-contained HTML page about a record set."),
        ("findings", pages.findings, "Write FINDINGS.md: what holds, what does not and by how much, in sentences."),
        ("front", pages.front, "Rewrite the generated blocks of a README from a published record set."),
    ):
        verb = _verb(verbs, name, action, text)
        if name == "report":
            text = "a published record set: a section says whether this one agrees with it"
            verb.add_argument("--published", type=Path, help=text)
        if name == "render":
            verb.add_argument("--recipe", required=True, help="a file of paper_figures/, without .py")
        verb.add_argument("--records", required=True, type=Path, help="records.jsonl.gz, or the folder that holds it")
        verb.add_argument(
            "--output", required=True, type=Path, help="folder (`report`: HTML file, `front`: README) to write"
        )


def _compare(verbs) -> None:
    text = "Tell whether a second run agrees with a published one, cell by cell and verdict by verdict."
    verb = _verb(verbs, "compare", compare.compare, text)
    verb.add_argument("records", type=Path, help="the record set that was made here (with --sample: the published one)")
    verb.add_argument("published", type=Path, nargs="?", help="the published record set")
    verb.add_argument("--output", type=Path, help="folder for compare.md, .csv, .tex and .json")
    text = "instead, make so many random runs of a published set again with the code of today"
    verb.add_argument("--sample", type=int, metavar="N", help=text)
    text = "with --sample, leave out runs that took more seconds (default: 120)"
    verb.add_argument("--longest", type=float, default=120.0, metavar="SECONDS", help=text)
    verb.add_argument("--seed", type=int, default=0, help="with --sample, of the choice of runs (default: 0)")
    text = "with --sample, folder of the data sets (default: $KANBENCH_DATA, then .data)"
    verb.add_argument("--data-root", type=Path, help=text)


def _mend(verbs) -> None:
    verb = _verb(verbs, "failures", failures.show, "Tell which runs of a study failed, why, and where their logs are.")
    _config(verb)
    verb = _verb(
        verbs, "retry", failures.retry, "Make the failed runs of a study again; earlier records are kept aside."
    )
    _config(verb)
    text = "statuses to make again, such as failed,timed_out (default: failed)"
    verb.add_argument("--status", default="failed", help=text)
    verb.add_argument("--match", default="", metavar="TEXT", help="only runs whose name contains TEXT")
    verb.add_argument("--cores", default="all", help="cores for the workflow (default: all)")
    verb.add_argument("--only-aside", action="store_true", help="set records aside and leave the rest to snakemake")
    text = "Collect and render what there is, whatever failed (the workflow does so where a job failed)."
    verb = _verb(verbs, "conclude", failures.conclude, text)
    verb.add_argument("study", type=Path, help="results/<study>, or a folder with a record set")


def _exchange(verbs) -> None:
    text = "Choose rates, settings and references from the study `tuning`, by validation scores; plan its next round."
    verb = _verb(verbs, "choose", records.choose, text)
    verb.add_argument("--records", type=Path, default=Path("results/tuning"), help="records of that study")
    verb.add_argument("--configfile", type=Path, help="that study (default: workflow/config/tuning.yaml)")
    verb.add_argument("--output", required=True, type=Path, help="the table (.csv) of what was tried and chosen")
    verb.add_argument("--references", type=Path, help="that of the dense KANs (default: references.csv beside it)")
    verb = _verb(verbs, "pack", records.pack, "Put the records of a study into one small archive.")
    verb.add_argument("study", type=Path, help="results/<study>")
    verb.add_argument("--output", type=Path, help="the archive (default: <study>.tar.gz)")
    verb = _verb(verbs, "unpack", records.unpack, "Merge the records of an archive into a study.")
    verb.add_argument("archive", type=Path, help="an archive of `pack`, or a records.jsonl.gz")
    verb.add_argument("--into", required=True, type=Path, help="results/<study>")


def _bundle(verbs) -> None:
    verb = _verb(
        verbs, "publish", bundles.publish, "Put a record set and all that is rendered from it in one file to cite."
    )
    verb.add_argument("records", type=Path, help="the folder of a record set, such as results/laptop")
    verb.add_argument("--output", required=True, type=Path, help="the bundle (.zip)")
    verb.add_argument("--creator", action="append", required=True, help="who publishes it (may be given several times)")
    verb.add_argument("--title", help="default: MetaKAN benchmark: record set NAME")
    verb.add_argument("--licence", default="MIT", help="SPDX name (default: MIT)")
    verb.add_argument("--date", help="YYYY-MM-DD (default: today)")
    verb = _verb(verbs, "verify", bundles.verify, "Check a bundle: hashes, schema, and everything rendered again.")
    verb.add_argument("bundle", type=Path, help="a bundle of `publish`")
    verb.add_argument("--no-render", action="store_true", help="check hashes and schema alone")
    text = "Merge the records of a bundle into a study; tables name where they are from."
    verb = _verb(verbs, "take", bundles.take, text)
    verb.add_argument("bundle", type=Path, help="a bundle of `publish`")
    verb.add_argument("--into", required=True, type=Path, help="results/<study>, or the folder of a record set")


def _extend(verbs) -> None:
    verb = _verb(verbs, "check-baseline", baselines.check_baseline, "Check that a baseline keeps the contract.")
    verb.add_argument("name", nargs="*", help="folders of baselines/ (default: all)")
    text = "Create baselines/NAME from a template, or around a class of an installed package."
    verb = _verb(verbs, "new-baseline", baselines.new_baseline, text)
    verb.add_argument("name", help="lower case letters, digits and _")
    way = verb.add_mutually_exclusive_group()
    text = "wrap a torch.nn.Module that takes widths, such as inkan or inkan:KANNetwork"
    way.add_argument("--from", dest="origin", metavar="PACKAGE[:CLASS]", help=text)
    way.add_argument("--estimator", action="store_true", help="a method that is no network: fit and predict")
    text = "with --from: install this in an environment of the baseline's own (may be given several times)"
    verb.add_argument("--requirement", action="append", default=[], metavar="inkan==0.5.2", help=text)
    text = "Build the environment that a baseline asks for; the workflow does so by itself."
    verb = _verb(verbs, "environment", baselines.environment, text)
    verb.add_argument("name", help="a baseline with a requirements file (`environment` in baseline.yaml)")
    verb.add_argument("--stamp", type=Path, help="write a file that says what it has")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0 done, 1 refused with a message, 2 wrong usage, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        return options.action(options) or 0
    except KanbenchError as error:
        print(f"kanbench {options.verb}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `… | head` has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"kanbench {options.verb}: interrupted; the same command resumes", file=sys.stderr)
        return 130
