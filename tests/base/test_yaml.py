"""The reader of YAML: plain data within bounds, and a sentence for everything else. Nothing else reads YAML."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kanbench.base import errors, plain_yaml, schema
from kanbench.base.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path for folder in ("workflow", "baselines", "paper_figures") for path in (ROOT / folder).rglob("*.yaml")
)


def refusal(tmp_path, content: bytes) -> errors.Finding:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        schema.read_yaml(file, "file.yaml")
    (finding,) = caught.value.findings
    assert finding.file == "file.yaml"
    return finding


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_files_of_the_suite_read_as_pyyaml_reads_them(file):
    assert schema.read_yaml(file, "") == yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "the key 'a' is written twice"),
        (b"a:\n  b: {c: 1, d: 2, c: 1}\n", 2, "the key 'c' is written twice"),
        (b'{"a": 1,\n "a": 2}', 2, "the key 'a' is written twice"),
        (b"a: 1\nb: \xff\n", 2, "the byte 0xff, which is not UTF-8"),
        ("a: é".encode("utf-16"), 1, "the byte 0xff, which is not UTF-8"),
        (b"1: x", 1, "the key 1 is no text"),
        (b"on: x", 1, "the key True is no text"),
        (b"~: x", 1, "the key None is no text"),
        (b"? [a, b]\n: x", 1, "no text"),
        (b"a: 2001-01-01", 1, "a date: write it in quotes"),
        (b"a: 2001-99-99", 1, "a date: write it in quotes"),
        (b"base: &b {x: 1}\na:\n  <<: *b\n", 3, "the merge key '<<'"),
        (b"a: .nan", 1, "where a finite number is expected"),
        (b"a: -.inf", 1, "where a finite number is expected"),
        (b"a: 1.0e+999", 1, "where a finite number is expected"),
        (b"a: " + b"9" * 5000, 1, "is no int"),
        (b"a: 9223372036854775808", 1, "64 bits"),
        (b"a: !!int x", 1, "'x' is no int"),
        (b"a: !!bool x", 1, "'x' is no bool"),
        (b"a: !!binary aGFsbG8=", 1, "plain data are expected"),
        (b"a: !!set {x}", 1, "plain data are expected"),
        (b"a: !!python/object/apply:os.system [exit 3]", 1, "plain data are expected"),
        (b"a: !thing x", 1, "plain data are expected"),
        (b"a: *b", 1, "stands for nothing"),
        (b"a: &a [*a]", 1, "stands for nothing, or for what holds it"),
        (b"a: 1\n---\nb: 2\n", 2, "a second document"),
        (b"a: " + b"x" * 20001, 1, "a text of 20001 characters"),
        (b"k" * 201 + b": 1", 1, "a key of 201 characters"),
        (b"a: [1,\nb: 2\n", 3, ""),
    ],
)
def test_what_is_refused_and_where(tmp_path, content, line, found):
    finding = refusal(tmp_path, content)
    assert finding.key == f"line {line}"
    assert found in finding.found


@pytest.mark.parametrize("content", [b"a: \x00", b"\x00", b"a: \x07", b'a: "\\ud800"'])
def test_control_characters_and_lone_surrogates_are_refused(tmp_path, content):
    assert refusal(tmp_path, content).found


@pytest.mark.parametrize("brackets", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_before_it_ends_the_process(tmp_path, brackets):
    assert "more than 40 levels" in refusal(tmp_path, brackets.encode() * 100_000).found


def test_nesting_that_aliases_bring_counts():
    chain = "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60))])
    with pytest.raises(plain_yaml.NotPlain, match="more than 40 levels"):
        plain_yaml.load(chain)
    assert len(plain_yaml.load("\n".join(chain.splitlines()[:30]))) == 30


def laughs(levels: int) -> str:
    """Return a document whose value number n holds ten times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_are_counted_written_out():
    assert len(plain_yaml.load(laughs(4))["a3"]) == 10
    with pytest.raises(plain_yaml.NotPlain, match="more than 200000 values"):
        plain_yaml.load(laughs(9))


def test_a_billion_laughs_take_no_memory(tmp_path):
    (tmp_path / "laughs.yaml").write_text(laughs(12))
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
    code += "from pathlib import Path\nfrom kanbench.base import schema\n"
    code += f"schema.read_yaml(Path({str(tmp_path / 'laughs.yaml')!r}), 'laughs')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "more than 200000 values" in done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2**20, "less than 1 GiB"


def test_plain_values_keep_their_type():
    text = "{a: 1, b: 1.0, c: '1', d: true, e: null, f: [x, {g: 1e-3, h: 1.0e-3}], i: !!str 5, j: &k [1], l: *k, m: }"
    found = plain_yaml.load(text)
    assert found == yaml.safe_load(text)
    assert [type(found[key]) for key in "abcdei"] == [int, float, str, bool, type(None), str]
    assert plain_yaml.load("") is None


def test_an_anchor_can_be_given_twice_the_last_counts():
    assert plain_yaml.load("[&a 1, *a, &a 2, *a]") == [1, 1, 2, 2]


def test_a_folder_a_forbidden_file_and_a_large_one_are_findings(tmp_path, monkeypatch):
    with pytest.raises(InvalidInput, match="cannot be read"):
        schema.read_yaml(tmp_path, "folder")
    with pytest.raises(InvalidInput, match="no such file"):
        schema.read_yaml(tmp_path / "none", "none")
    monkeypatch.setattr(schema, "MAX_BYTES", 100)
    assert "more than 100 bytes" in refusal(tmp_path, b"a: " + b" " * 100).found


def test_messages_stay_short():
    finding = errors.Finding("f", "k" * 5000, "x" * 100_000, errors.nearest("y" * 100_000, ["a", "b"]), "mend it")
    assert len(str(finding)) < 2500
    assert "one of a, b" in str(finding)


def test_nothing_else_of_the_suite_loads_yaml():
    loading = {"load", "safe_load", "load_all", "safe_load_all", "full_load", "unsafe_load"}
    for folder in ("workflow/kanbench", "paper_figures", "benchmarks", "metakan"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
                    assert node.attr not in loading, path
