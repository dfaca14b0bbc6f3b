"""Lets the same command go on after `kill -9`, which leaves Snakemake's lock behind.

Snakemake refuses to start while a lock exists, and asks for `--rerun-incomplete` where a job was in flight. Both
protect files that are half written; the suite has none, since every file is renamed into place. So every workflow
leaves its name beside the lock, and a lock is removed, with the marks of the jobs that ran, where all who may have
taken it are known to be gone. Of a workflow on another machine or in another container nobody here can know.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kanbench.base.atomic import write_text
from kanbench.process import owner

STATE = ".snakemake"
OWNERS = "kanbench-owners"


def begin(folder: Path) -> None:
    """Register this process as one that works in `folder`, after removing what dead ones left there.

    A file for each, which goes when the process ends, and whose name its jobs get by the environment.
    """
    foreign = release_stale_lock(folder)
    if foreign:
        print(f"{foreign}\n  if nothing runs there any more: snakemake --unlock", file=sys.stderr)
    me = owner.current()
    file = folder / STATE / OWNERS / f"{me.host}-{me.pid}-{me.started}.json"
    write_text(file, me.text)
    os.environ[owner.VARIABLE] = me.text
    atexit.register(_leave, file, os.getpid())


def _leave(file: Path, pid: int) -> None:
    if os.getpid() == pid:  # not a child that was forked in between
        file.unlink(missing_ok=True)


def release_stale_lock(folder: Path) -> str:
    """Remove the lock and the marks of dead workflows in `folder`.

    Returns:
        A sentence that names who may hold the lock, where that cannot be told from here; otherwise nothing.
    """
    state = folder / STATE
    registered = list(_registered(state / OWNERS))
    lives = [found.lives if found is not None else False for _, found in registered]
    if True in lives:
        return ""
    if (state / "locks").is_dir() and any((state / "locks").iterdir()):
        if None in lives:
            unknown = [found for (_, found), each in zip(registered, lives, strict=True) if each is None]
            names = ", ".join(f"process {each.pid} on {each.host}" for each in unknown)
            return f"{state}/locks: a lock that may be held by {names}"
        if not registered:
            return f"{state}/locks: a lock that nobody has signed"
        for name in ("locks", "incomplete"):
            shutil.rmtree(state / name, ignore_errors=True)
    for (file, _), each in zip(registered, lives, strict=True):
        if each is False:
            file.unlink(missing_ok=True)
    return ""


def at_work(folder: Path) -> list[owner.Owner]:
    """Return the workflows that work in `folder`, or may do so on another machine."""
    found = (each for _, each in _registered(folder / STATE / OWNERS))
    return [each for each in found if each is not None and each.lives is not False]


def _registered(folder: Path) -> Iterator[tuple[Path, owner.Owner | None]]:
    for file in sorted(folder.glob("[!.]*.json")):
        with suppress(OSError):
            yield file, owner.parse(file.read_text(encoding="utf-8", errors="replace"))
