"""Bundles: verified byte by byte; whatever was changed is found; what is taken keeps its mark."""

from __future__ import annotations

import copy
import json
import zipfile
from argparse import Namespace
from pathlib import Path

import paper_records
import pytest
import yaml
from record_fixtures import write_set
from rocrate.rocrate import ROCrate

from kanbench.base.errors import InvalidInput
from kanbench.cli import bundles
from kanbench.pages import bundling, recipes, render
from kanbench.records import adopted, bundle, collect, frame, survey

KEPT = ("table3_convolution", "peak_memory_by_category")
"""A table and a figure: all of them would take minutes."""
ABOUT = bundling.About(["Doe, J.", "Lab X"], "Records of a test", "CC-BY-4.0", "2026-01-02")


@pytest.fixture(autouse=True, scope="module")
def few_recipes():
    found = {name: recipe for name, recipe in recipes.discover().items() if name in KEPT}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "discover", lambda: found)
        yield


@pytest.fixture(scope="module")
def invented() -> list[dict]:
    return [entry for entry in paper_records.records() if entry["spec"]["task"]["name"] == "mnist"][:40]


def gathered(records: list[dict], folder: Path) -> Path:
    """Return the folder of a record set."""
    folder.mkdir()
    collect.write(frame.read_lines(write_set(records, folder.with_suffix(".jsonl"))), folder)
    return folder


@pytest.fixture
def record_set(invented, tmp_path) -> Path:
    return gathered(invented, tmp_path / "mine")


@pytest.fixture(scope="module")
def published(invented, few_recipes, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("published")
    bundling.publish(gathered(invented, place / "mine"), place / "bundle.zip", ABOUT)
    return place / "bundle.zip"


def changed(file: Path, change) -> Path:
    """Write a bundle again with `change` done to its files by name."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    other = file.with_name("changed.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return other


def relisted(files: dict[str, bytes]) -> None:
    """Make the manifest agree with the files: what a forger would do."""
    content = json.loads(files[bundle.MANIFEST])
    content["files"] = {
        name: {"sha256": bundle._sha256(data), "bytes": len(data)}
        for name, data in files.items()
        if name != bundle.MANIFEST
    }
    files[bundle.MANIFEST] = bundle.text(content).encode()


def verify(file: Path, *, render: bool = True) -> int:
    return bundles.verify(Namespace(bundle=file, no_render=not render))


def test_a_bundle_is_verified_and_is_the_same_every_time(published, tmp_path, capsys):
    assert verify(published) == 0
    said = capsys.readouterr().out
    assert "byte-equal" in said
    assert "40 lines are records" in said
    content, folder = bundle.unpack(published, tmp_path)
    again = tmp_path / "again.zip"
    bundle.write(folder, again)
    assert again.read_bytes() == published.read_bytes(), "equal files, equal bytes"
    crate = (folder / "ro-crate-metadata.json").read_bytes()
    for name in ("ro-crate-metadata.json", bundle.MANIFEST):
        (folder / name).unlink()
    bundling._describe(folder, ABOUT, content)
    assert (folder / "ro-crate-metadata.json").read_bytes() == crate


def test_it_is_described_for_people_and_machines(published, tmp_path):
    content, folder = bundle.unpack(published, tmp_path / "out")
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert citation["version"] == f"{bundling.version()}+records.{content['records_sha256'][:12]}"
    assert [author["name"] for author in citation["authors"]] == ABOUT.creators
    assert citation["references"][1]["url"].endswith("2506.07549")
    crate = ROCrate(str(folder))
    assert crate.name == ABOUT.title
    assert crate.datePublished.isoformat().startswith("2026-01-02")
    described = {entity.id: entity for entity in crate.data_entities}
    listed = set(content["files"]) - {"ro-crate-metadata.json"}
    assert listed <= set(described)
    assert described["records.jsonl.gz"]["sha256"] == content["files"]["records.jsonl.gz"]["sha256"]
    assert content["counts"]["ok"] == 40


TABLE = "tables/table3_convolution.md"
FAULTS = {
    "a byte of a table": (lambda f: f.update({TABLE: f[TABLE] + b" "}), "bytes"),
    "another file": (lambda f: f.update({"extra.txt": b"?"}), "in no list"),
    "a missing file": (lambda f: f.pop("claims.json"), "no such file"),
    "no manifest": (lambda f: f.pop("manifest.json"), "no manifest.json"),
    "a manifest of another form": (lambda f: f.update({"manifest.json": b'{"format": 1}'}), "another form"),
    "a manifest that is no JSON": (lambda f: f.update({"manifest.json": b"{"}), "no whole JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(published, fault):
    change, words = FAULTS[fault]
    with pytest.raises(InvalidInput, match=words):
        verify(changed(published, change), render=False)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bytes_that_a_disk_has_turned_are_found(published, tmp_path, share):
    content = bytearray(published.read_bytes())
    content[int(len(content) * share)] ^= 0xFF
    turned = tmp_path / "turned.zip"
    turned.write_bytes(content)
    with pytest.raises(InvalidInput):
        verify(turned, render=False)


def test_a_table_that_was_changed_with_its_digest_is_not_rendered_again(published):
    def forge(files):
        files["tables/table3_convolution.md"] = files["tables/table3_convolution.md"].replace(b"0.9", b"0.8", 1)
        relisted(files)

    forged = changed(published, forge)
    assert verify(forged, render=False) == 0, "the digests agree"
    with pytest.raises(InvalidInput, match=r"table3_convolution\.md"):
        verify(forged)


def test_a_record_that_was_changed_with_its_digest_breaks_its_seal(published):
    import gzip

    def forge(files):
        text = gzip.decompress(files["records.jsonl.gz"]).decode()
        assert '"trainable": ' in text
        files["records.jsonl.gz"] = gzip.compress(text.replace('"trainable": ', '"trainable": 1', 1).encode())
        relisted(files)

    with pytest.raises(InvalidInput, match="sha256"):
        verify(changed(published, forge), render=False)


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../b", ".hidden", "c:\\x", "a//b"])
def test_a_name_that_leads_out_is_refused_before_anything_is_written(published, name, tmp_path):
    def add(files):
        files[name] = b"x"
        relisted(files)

    with pytest.raises(InvalidInput, match="no name of a file"):
        bundle.unpack(changed(published, add), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def theirs(invented: list[dict]) -> list[dict]:
    """Records of a method that the suite does not have, on the tasks of a dense one."""
    found = []
    for entry in copy.deepcopy(invented):
        if entry["spec"]["method"]["name"] == "conv_kan-bspline":
            entry["spec"]["method"] |= {"name": "their_kan", "baseline": "their_kan", "variant": None}
            found.append({**entry, "label": "Their KAN"})
    return found


@pytest.fixture(scope="module")
def their_bundle(invented, few_recipes, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("theirs")
    bundling.publish(gathered(theirs(invented), place / "their_lab"), place / "theirs.zip", ABOUT)
    return place / "theirs.zip"


def test_what_is_taken_stands_in_the_tables_with_its_origin_and_is_compared(record_set, their_bundle, capsys):
    before = frame.read_lines(record_set / collect.RECORDS)
    bundles.take(Namespace(bundle=their_bundle, into=record_set))
    (origin,) = adopted.of(record_set)
    assert origin.startswith("their_lab ")
    lines = frame.read_lines(record_set / collect.RECORDS)
    taken = [line for line in lines if line.get("origin") == origin]
    assert taken
    assert [line for line in lines if "origin" not in line] == before, "nothing of one's own has changed"
    made = render.make_table(recipes.discover()["table3_convolution"], render.RecordSet(record_set))
    (row,) = {tuple(cell.text for cell in row) for row in made.rows if "Their KAN" in row[3].text}
    assert row[3] == f"Their KAN (from {origin})"
    assert "of ConvKAN (bspline)" in row[7], "compared with the declared reference"
    assert any(f"From {origin}: {len(taken)} runs" in note for note in made.notes)
    bundles.take(Namespace(bundle=their_bundle, into=record_set))
    assert frame.read_lines(record_set / collect.RECORDS) == lines, "taking it again changes nothing"


def test_another_result_of_ones_own_run_is_refused_and_nothing_is_kept(record_set, published, invented, tmp_path):
    other = copy.deepcopy(invented)
    other[0]["parameters"]["trainable"] += 1
    mine = gathered(other, tmp_path / "other")
    with pytest.raises(InvalidInput, match=r"another result \(parameters\)"):
        bundles.take(Namespace(bundle=published, into=mine))
    assert not (mine / adopted.FOLDER).exists()
    bundles.take(Namespace(bundle=published, into=record_set))
    assert all("origin" not in line for line in frame.read_lines(record_set / collect.RECORDS)), "one's own stay so"


def test_a_study_gathers_what_it_took_and_counts_it_apart(record_set, their_bundle, invented):
    bundles.take(Namespace(bundle=their_bundle, into=record_set))
    assert survey._seals(record_set / collect.RECORDS) == survey._of(
        (line["run"], survey.seal({k: v for k, v in line.items() if k != "experiments"}))
        for line in frame.read_lines(record_set / collect.RECORDS)
        if "origin" not in line
    )
    plan = {"runs": {}}
    found = collect.gather(plan, record_set / "runs")
    assert {line["origin"] for line in found.records} == set(adopted.of(record_set))
