"""A lock that nobody holds any more is released; one that is held is not."""

from __future__ import annotations

import os
import subprocess
import sys

from kanbench.study import resume


def lock(folder):
    (folder / ".snakemake" / "locks").mkdir(parents=True)
    (folder / ".snakemake" / "locks" / "0.output.lock").write_text("a.json\n")
    (folder / ".snakemake" / "incomplete").mkdir()
    (folder / ".snakemake" / "incomplete" / "YQ==").write_text("{}")


def test_nothing_to_release_without_a_lock(tmp_path):
    assert not resume.release_stale_lock(tmp_path)


def test_the_lock_of_a_dead_process_is_released_with_its_marks(tmp_path):
    lock(tmp_path)
    assert resume.release_stale_lock(tmp_path)
    assert not (tmp_path / ".snakemake" / "locks").exists()
    assert not (tmp_path / ".snakemake" / "incomplete").exists()


def test_the_lock_of_a_living_process_stays(tmp_path):
    lock(tmp_path)
    script = tmp_path / "snakemake"
    script.write_text("import time; print('up', flush=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, env=os.environ)
    try:
        process.stdout.readline()
        assert not resume.release_stale_lock(tmp_path)
        assert (tmp_path / ".snakemake" / "locks" / "0.output.lock").exists()
    finally:
        process.kill()
        process.wait()
    assert resume.release_stale_lock(tmp_path)
