"""Publishes a record set as a bundle that can be cited, and renders one again to see that it says what it says."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from kanbench.base import paths, plain_yaml
from kanbench.base.atomic import write_text
from kanbench.base.errors import Finding, InvalidInput
from kanbench.pages import recipes, render, report
from kanbench.records import bundle, collect, frame, kept

CITATION, README, SCHEMA = "CITATION.cff", "README.md", "record.schema.yaml"
SOFTWARE = ("itables", "matplotlib", "numpy", "pandas", "pillow", "scipy", "seaborn")
"""Packages that a rendered file depends on."""
FORMATS = {
    ".csv": "text/csv", ".md": "text/markdown", ".tex": "application/x-tex", ".json": "application/json",
    ".html": "text/html", ".png": "image/png", ".pdf": "application/pdf", ".gz": "application/gzip",
    ".yaml": "application/yaml", ".cff": "application/yaml",
}  # fmt: skip
GUIDE = """# {title}

{citation}

Records of runs of the MetaKAN benchmark, and all that is rendered from them: `records.jsonl.gz` has a record a line
(`{schema}` says what one holds), `records.csv` the same as a table, `report.html` everything on one page.
`manifest.json` lists every file with its SHA-256, `ro-crate-metadata.json` describes them, `CITATION.cff` says how to
cite.

In a checkout of the suite, version {version}:

    python -m kanbench verify bundle.zip          # hashes, schema, and every page rendered again, byte by byte
    python -m kanbench take bundle.zip --into results/laptop
"""


@dataclass(frozen=True)
class About:
    """Who publishes what: names of people or groups, a title, a licence (SPDX) and a date (YYYY-MM-DD)."""

    creators: Sequence[str]
    title: str
    licence: str
    date: str


def version() -> str:
    """Return the version of the suite."""
    return str(plain_yaml.load((paths.root() / CITATION).read_text(encoding="utf-8"))["version"])


def software() -> dict[str, str]:
    """Return the versions of what renders."""
    return {name: importlib.metadata.version(name) for name in SOFTWARE}


def publish(records: Path, output: Path, about: About) -> dict[str, Any]:
    """Write a bundle of a record set; return its manifest.

    Raises:
        MissingData, InvalidInput: there is no record set, or a line of it is no record.
    """
    record_set = render.RecordSet(records)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / record_set.name
        file = next(found for found in _candidates(records) if found.is_file())
        collect.write(frame.read_lines(file), folder)
        again = render.RecordSet(folder)
        render_all(folder, folder)
        made = {"name": again.name, "version": version(), "records_sha256": again.digest}
        made |= {"creators": list(about.creators), "date": about.date, "counts": again.counts, "software": software()}
        (folder / SCHEMA).write_bytes((paths.root() / f"workflow/schemas/{SCHEMA}").read_bytes())
        write_text(folder / CITATION, _citation(about, made))
        guide = {"title": about.title, "citation": again.citation, "schema": SCHEMA}
        write_text(folder / README, GUIDE.format(**guide, version=made["version"]))
        _describe(folder, about, made)
        content = bundle.manifest(folder, made)
        write_text(folder / bundle.MANIFEST, bundle.text(content))
        bundle.write(folder, output)
    return content


def _candidates(records: Path) -> list[Path]:
    return [records / name for name in frame.FILES] if records.is_dir() else [records]


def render_all(records: Path, output: Path) -> None:
    """Render every figure and table, the claims and the report of a record set."""
    for name in recipes.discover():
        render.render(name, records, output)
    render.render_claims(records, output)
    report.report(records, output / "report.html")
    (records / kept.FILE).unlink(missing_ok=True)


def _citation(about: About, made: dict[str, Any]) -> str:
    suite = plain_yaml.load((paths.root() / CITATION).read_text(encoding="utf-8"))
    content = {
        "cff-version": suite["cff-version"],
        "message": "If you use these records, please cite them together with the paper that they examine.",
        "title": about.title,
        "type": "dataset",
        "version": f"{made['version']}+records.{made['records_sha256'][:12]}",
        "date-released": about.date,
        "license": about.licence,
        "authors": [{"name": name} for name in about.creators],
        "keywords": suite["keywords"],
        "references": [
            {"type": "software", "title": suite["title"], "version": made["version"], "authors": suite["authors"]},
            *suite["references"],
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _describe(folder: Path, about: About, made: dict[str, Any]) -> None:
    """Write the RO-Crate metadata of a folder: the data set, its creators and every file."""
    crate = ROCrate()
    crate.name, crate.license = about.title, f"https://spdx.org/licenses/{about.licence}"
    crate.description = f"Records of the MetaKAN benchmark, protocol {bundle.PROTOCOL}, and what is rendered from them"
    crate.datePublished = about.date
    crate.root_dataset["version"] = f"{made['version']}+records.{made['records_sha256'][:12]}"
    for number, name in enumerate(about.creators, start=1):
        entity = Entity(crate, f"#creator-{number}", properties={"@type": "Organization", "name": name})
        crate.root_dataset.append_to("creator", crate.add(entity))
    for name, listed in bundle.manifest(folder, made)["files"].items():
        form = FORMATS.get(Path(name).suffix, "text/plain")
        about_file = {"encodingFormat": form, "contentSize": str(listed["bytes"]), "sha256": listed["sha256"]}
        crate.add_file(folder / name, dest_path=name, properties={"name": name, **about_file})
    with tempfile.TemporaryDirectory() as other:
        crate.write(other)
        metadata = (Path(other) / "ro-crate-metadata.json").read_bytes()
    (folder / "ro-crate-metadata.json").write_bytes(metadata)


def differences(content: dict[str, Any], folder: Path) -> Iterator[Finding]:
    """Yield what an unpacked bundle has otherwise than this suite renders from its records, file by file."""
    with tempfile.TemporaryDirectory() as temporary:
        records = Path(temporary) / content["name"]
        collect.write(frame.read_lines(folder / collect.RECORDS), records)
        render_all(records, records)
        other = _other_software(content)
        step = f"render it with what it was made with: {other}" if other else "ask those who published it"
        rendered = {path.relative_to(records).as_posix() for path in records.rglob("*") if path.is_file()}
        kinds = ("figures/", "tables/", "claims.", "report.html", collect.RECORDS, collect.TABLE)
        listed = {name for name in content["files"] if name.startswith(kinds)}
        for name in sorted(rendered | listed):
            if name not in listed:
                yield Finding(content["name"], name, "not in the bundle", "every rendered file", step)
            elif name not in rendered:
                yield Finding(content["name"], name, "nothing of that name", "a file that is rendered again", step)
            elif (records / name).read_bytes() != (folder / name).read_bytes():
                yield Finding(content["name"], name, "other bytes than are rendered again", "the same bytes", step)


def _other_software(content: dict[str, Any]) -> str:
    here = {"suite": version(), **software()}
    there = {"suite": content["version"], **content["software"]}
    return ", ".join(f"{name} {there[name]} (here {here.get(name)})" for name in there if there[name] != here.get(name))


def digest_of(content: dict[str, Any], folder: Path) -> None:
    """Raise InvalidInput where the records of an unpacked bundle are not those that its manifest names."""
    found = frame.fingerprint(frame.read_records(folder / collect.RECORDS))
    if found != content["records_sha256"]:
        expected = f"sha256 {content['records_sha256'][:16]}"
        raise InvalidInput([Finding(content["name"], "records_sha256", found[:16], expected, bundle.STEP)])
