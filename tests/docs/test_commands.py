"""Every command that the documents show exists and does what it says, or its dry form does."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
import shown

from kanbench.cli import parser

ROOT = shown.ROOT
REDUCED = {"workflow/config/paper.yaml": "E2", "workflow/config/desk.yaml": "E2"}
"""Studies whose tens of thousands of jobs take Snakemake minutes, and the part of them that stands for all here.

`.ci/run` plans the whole grid.
"""
OF_THE_TUTORIAL = ("my_study", "make_table.py", "my_packages", "cheby_kan")
"""What `test_tutorial.py` makes and then uses, command by command."""
KANBENCH = ["python", "-m", "kanbench"]


def words(command: str) -> list[str]:
    return shlex.split(command.replace("$PWD", str(ROOT)))


def dry_snakemake(given: list[str]) -> list[str]:
    """Return a dry form of a call of Snakemake, of a part of the study where that is large.

    A later look is planned from the verdicts of the first, which stands for it here.
    """
    options = ["look=1" if option == "look=2" else option for option in given[1:]]
    only = next((part for file, part in REDUCED.items() if file in options), "")
    if only and not any(option.startswith("only=") for option in options):
        place = options.index("--config") + 1 if "--config" in options else len(options)
        options[place:place] = [f"only={only}"] if "--config" in options else ["--config", f"only={only}"]
    return [sys.executable, "-m", "snakemake", "--dry-run", "--quiet=all", *options]


def planned(given: list[str]) -> list[str]:
    """Return the plan of the slice that a call of Snakemake names."""
    only = next(option for option in given if option.startswith("only="))
    file = given[given.index("--configfile") + 1]
    return [sys.executable, *KANBENCH[1:], "plan", "--configfile", file, "--only", only.removeprefix("only=")]


def dry(command: str) -> list[str] | None:
    """Return a form of a command that shows that it exists and leaves its work undone.

    None where there is none, and what could be checked without running it was.
    """
    given = words(command)
    if given[0] == "make":
        return ["make", "--dry-run", *given[1:]]
    if any(name in command for name in OF_THE_TUTORIAL):
        return None
    if given[0] == "snakemake":
        if "records=results/reference" in given:  # rendering is tested on a record set of its own
            return None
        sliced = any(option.startswith("only=") for option in given) and any(file in given for file in REDUCED)
        return planned(given) if sliced else dry_snakemake(given)
    if given[:3] == KANBENCH:
        parsed(given)
        light = given[3] in ("list", "status", "plan") and not {"--watch", *REDUCED} & set(given)
        return [sys.executable, *given[1:]] if light or "--help" in given else None
    if given[0] == "mkdir":
        return None
    if given[0] in ("docker", "apptainer", "kubectl"):
        files = [part for part in given if part.startswith("containers/")]
        assert all((ROOT / file).is_file() for file in files)
        return None
    if given[:2] == ["git", "archive"]:
        return (
            ["git", "archive", "--output", "/dev/null", "--format", "tar", given[-1]]
            if (ROOT / ".git").exists()
            else None
        )
    if given[:2] == ["pip", "install"]:
        where, _, extra = given[2].partition("[")
        assert (ROOT / where / "pyproject.toml").is_file()
        assert f"{extra.rstrip(']')} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return None
    if given[0] == "python" and (ROOT / given[1]).is_file():
        return [sys.executable, "-m", "py_compile", given[1]]
    raise AssertionError(f"the documents show a command that no test knows: {command}")


def parsed(given: list[str]):
    """Return what the program's own parser makes of a call; it fails on an unknown verb or option."""
    try:
        return parser.parser().parse_args(given[3:])
    except SystemExit as ended:
        if ended.code:
            raise AssertionError(" ".join(given)) from ended
        return None


@pytest.mark.parametrize("command", shown.commands())
def test_every_command_shown_exists(command, run, shared_suite):
    line = dry(command)
    if line is None:
        return
    folder = shared_suite if "snakemake" in line else ROOT
    if "my_sweep" in command:
        sweep = next(each for each in shown.snippets() if each.file.endswith("my_sweep.yaml"))
        (shared_suite / sweep.file).write_text(sweep.text, encoding="utf-8")
        folder = shared_suite
    done = run(line, folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_a_command_that_does_not_exist_is_found():
    for wrong in ("python -m kanbench plann", "python -m kanbench plan --onyl E2", "rm -r results"):
        with pytest.raises(AssertionError):
            dry(wrong)


def test_every_verb_named_in_a_text_is_one_and_has_the_options_named():
    verbs = parser.parser()._subparsers._group_actions[0].choices
    for command in shown.inline_commands("python -m kanbench"):
        verb, *rest = command.split()[3:]
        if verb == "VERB":
            continue
        assert verb in verbs, command
        options = {option for action in verbs[verb]._actions for option in action.option_strings}
        assert {word for word in rest if word.startswith("--")} <= options, command


def test_every_make_target_shown_is_one():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set()
    for command in [*(each for each in shown.commands() if each.startswith("make ")), *shown.inline_commands("make")]:
        named |= {word for word in command.split()[1:] if "=" not in word}
    assert named <= targets
    assert named >= {"reproduce", "test", "install", "lint", "smoke", "docs"}


def test_snakemake_reads_files_that_are_asked_for_as_the_documents_show(run, shared_suite):
    """What is shown as the working order works, and the other order does not."""
    study = ["--configfile", "workflow/config/smoke.yaml"]
    wrong = ["snakemake", "--cores", "1", *study, "results/smoke/claims.csv"]
    assert run(dry_snakemake(wrong), shared_suite).returncode != 0


def test_every_profile_and_container_that_is_named_is_there():
    text = "\n".join(document.read_text(encoding="utf-8") for document in shown.DOCUMENTS)
    named = set(re.findall(r"(?:profiles|containers)/[\w.]+", text))
    assert {"profiles/slurm", "profiles/kubernetes", "containers/Dockerfile", "containers/kubernetes.yaml"} <= named
    assert all((ROOT / name).exists() for name in named), named
