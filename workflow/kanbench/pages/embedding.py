"""What a page has in itself so that it needs nothing else: packed data, smaller images, the library of its tables."""

from __future__ import annotations

import base64
import gzip
import importlib.metadata
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from kanbench.base.errors import MissingData

LIBRARY = "itables"
"""The package that ships DataTables with its extensions as one module (`dt_bundle.js`) and one style sheet."""
BLOCK = 100
"""Records that are packed together: a page unpacks those around the one that is looked at."""


def packed(text: str) -> str:
    """Return a text compressed by gzip, in base 64: what the page unpacks when it is asked for."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def unpacked(text: str) -> str:
    """Return the text that was `packed`."""
    return gzip.decompress(base64.b64decode(text)).decode()


def blocks(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return records as packed JSON arrays of `BLOCK` each, in their order."""
    parts = (records[start : start + BLOCK] for start in range(0, len(records), BLOCK))
    return [packed(json.dumps(part, separators=(",", ":"), sort_keys=True)) for part in parts]


def ranges(numbers: Iterable[int]) -> str:
    """Return distinct numbers in ascending order, neighbours as a range: "3 7-12"."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def image(png: bytes) -> str:
    """Return a drawing as the address of an image in the page: WebP without loss, or PNG where that is smaller."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as drawn:
        drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).convert("RGB").save(
            small, "WEBP", lossless=True, quality=80, method=4
        )
    kind, content = min(("png", png), ("webp", small.getvalue()), key=lambda entry: len(entry[1]))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def library() -> dict[str, str]:
    """Return the library of the tables as its package ships it: `script`, a packed module, and `style`.

    Raises:
        MissingData: the package has no such files.
    """
    package = importlib.metadata.distribution(LIBRARY)
    files = {kind: package.locate_file(f"{LIBRARY}/html/dt_bundle.{kind}") for kind in ("js", "css")}
    try:
        texts = {kind: file.read_text(encoding="utf-8") for kind, file in files.items()}
    except OSError as error:
        step = "pip install --force-reinstall -c constraints.txt itables"
        raise MissingData(f"{LIBRARY} {package.version} without its tables: {error}\n  next: {step}") from None
    return {"script": packed(texts["js"]), "style": texts["css"]}
