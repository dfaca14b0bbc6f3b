"""A published record set in one file: what it holds, and whether it is still what was published.

A bundle is a zip file. `manifest.json` lists every other file with its SHA-256 and size; the digest of the manifest is
the bundle's `id`. Nothing in it is trusted: names decide no path before they have been checked, and no more is unpacked
than the manifest may list.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kanbench import PROTOCOL
from kanbench.base.atomic import replacing
from kanbench.base.errors import Finding, InvalidInput
from kanbench.records import check

MANIFEST = "manifest.json"
FORMAT = 1
MOST_BYTES, MOST_FILES = 2**30, 5000
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a bundle, so that equal contents are equal bundles."""
STEP = "copy it again from where it was published; `python -m kanbench publish` writes one"
KEYS = {"format", "name", "version", "protocol", "creators", "date", "records_sha256", "counts", "software", "files"}


def manifest(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest of a folder says: `about`, and every file with its digest and size."""
    files = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        content = file.read_bytes()
        files[file.relative_to(folder).as_posix()] = {"sha256": _sha256(content), "bytes": len(content)}
    return {"format": FORMAT, "protocol": PROTOCOL, **about, "files": files}


def text(content: Mapping[str, Any]) -> str:
    """Return a manifest as its file has it; the SHA-256 of this text is the bundle's `id`."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def identity(folder: Path) -> str:
    """Return the `id` of an unpacked bundle."""
    return _sha256((folder / MANIFEST).read_bytes())


def write(folder: Path, file: Path) -> None:
    """Write the files of a folder as a bundle; equal files give equal bytes."""
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=6)


def unpack(file: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Unpack a bundle below `folder`, each file checked against the manifest; return the manifest and where it lies.

    Raises:
        InvalidInput: it is damaged or too large, a file differs from what the manifest says, is missing, or is not in
            it; every problem at once.
    """
    label = file.name
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if len(entries) != len(archive.infolist()):
                raise ValueError("a name occurs twice")
            content = _manifest(archive, entries)
            problems = list(_differences(label, archive, entries, content["files"]))
            if problems:
                raise InvalidInput(problems)
            target = folder / content["name"]
            for name in (*content["files"], MANIFEST):
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(entries[name]))
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InvalidInput([Finding(label, "", str(error)[:200], "a bundle of `publish`", STEP)]) from None
    return content, target


def _manifest(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if MANIFEST not in entries:
        raise ValueError(f"no {MANIFEST}")
    if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries.values()) > MOST_BYTES:
        raise ValueError(f"more than {MOST_FILES} files, or {MOST_BYTES // 2**20} MiB when it is unpacked")
    content = check.parse(archive.read(entries[MANIFEST]))
    if set(content) != KEYS or content["format"] != FORMAT or not isinstance(content["files"], dict):
        raise ValueError(f"{MANIFEST} of another form")
    for name in (content["name"], *content["files"]):
        if not _harmless(name):
            raise ValueError(f"{ascii(name)[:120]} is no name of a file in a bundle")
    if "/" in content["name"]:
        raise ValueError(f"{ascii(content['name'])[:120]} is no name of a bundle")
    return content


def _harmless(name: object) -> bool:
    if not isinstance(name, str) or not 0 < len(name) < 250 or "\\" in name or "\0" in name or name == MANIFEST:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and path.as_posix() == name and not any(p[0] == "." or ":" in p for p in path.parts)


def _differences(
    label: str, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], listed: Mapping[str, Any]
):
    for name in sorted(set(entries) - {MANIFEST} - set(listed)):
        yield Finding(label, ascii(name)[1:121], "in no list", f"the files of {MANIFEST} alone", STEP)
    for name in sorted(listed):
        expected = f"sha256 {listed[name]['sha256'][:16]}, {listed[name]['bytes']} bytes"
        if name not in entries:
            yield Finding(label, name, "no such file", expected, STEP)
            continue
        if entries[name].file_size != listed[name]["bytes"]:
            yield Finding(label, name, f"{entries[name].file_size} bytes", expected, STEP)
            continue
        try:
            found = _sha256(archive.read(entries[name]))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            yield Finding(label, name, str(error)[:120], expected, STEP)
            continue
        if found != listed[name]["sha256"]:
            yield Finding(label, name, f"sha256 {found[:16]}", expected, STEP)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
