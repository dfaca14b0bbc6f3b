"""Which code made a number: commit, state and digest."""

from __future__ import annotations

import subprocess

import pytest

from kanbench.records import provenance
from kanbench.tasks import taskinfo


def git(folder, *arguments):
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = tmp_path / "suite"
    (root / "baselines/mine").mkdir(parents=True)
    (root / "Snakefile").write_text("")
    (root / "baselines/mine/model.py").write_text("a = 1\n")
    monkeypatch.setenv("KANBENCH_ROOT", str(root))
    git(root, "init")
    git(root, "add", "-A")
    git(root, "commit", "-m", "first")
    return root


FILES = ["Snakefile", "baselines/mine/model.py"]


def test_a_checkout_has_its_commit_and_its_state(checkout):
    found = provenance.code(FILES)
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert found["dirty"] is False
    (checkout / "notes.txt").write_text("no code")
    assert provenance.code(FILES)["dirty"] is False
    (checkout / "baselines/mine/new.csv").write_text("1")
    assert provenance.code([*FILES, "baselines/mine/new.csv"])["dirty"] is True, "an untracked file of a plug-in"
    (checkout / "baselines/mine/model.py").write_text("a = 2\n")
    changed = provenance.code(FILES)
    assert changed["dirty"] is True
    assert changed["digest"] != found["digest"]


@pytest.mark.parametrize("tracked", [False, True])
def test_a_copy_inside_another_repository_has_no_commit(checkout, tmp_path, monkeypatch, tracked):
    (checkout / ".git").rename(tmp_path / "gone")
    git(tmp_path, "init")
    if tracked:
        git(tmp_path, "add", "suite")
        git(tmp_path, "commit", "-m", "another's")
    found = provenance.code(FILES)
    assert (found["commit"], found["dirty"]) == (None, None)


def test_variables_of_git_lead_to_no_other_repository(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert provenance.code(FILES)["commit"] == git_free(checkout)


def git_free(folder) -> str:
    head = (folder / ".git/HEAD").read_text().split()[1]
    return (folder / ".git" / head).read_text().strip()


def test_data_beside_a_task_belong_to_it(tmp_path):
    (tmp_path / "tables").mkdir()
    texts = {
        "mine.yaml": "module: mine\n",
        "mine.py": 'open(FOLDER / "points.npz"); open(f"{kind}.csv")\n',
        "other.yaml": "module: other\n",
        "other.py": "",
        "points.npz": "",
        "mine_too.dat": "",
        "mine.dat": "",
        "small.csv": "",
        "tables/a.bin": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = taskinfo.data_files(tmp_path, (tmp_path / "mine.yaml", tmp_path / "mine.py"))
    assert [path.name for path in found] == ["mine.dat", "points.npz", "small.csv"]
    assert taskinfo.data_files(tmp_path, (tmp_path / "other.yaml", tmp_path / "other.py")) == []
