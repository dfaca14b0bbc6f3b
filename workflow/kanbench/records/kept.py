"""Keeps the table of a record set, so that of dozens of pages each need not check and lay out the same records again.

What is kept lies beside the record set and is taken only where the bytes of the set, of its plan and of the code that
made the table are the same; it may be deleted at any time. A table that would not come back as it is, is not kept.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kanbench import PROTOCOL
from kanbench.base import schema
from kanbench.base.atomic import write_bytes

FILE = ".frame.json.gz"
PLAIN = ("float64", "int64", "bool")
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""Numbers that JSON lacks, by the word that stands for them in a list of their own."""


def read(file: Path) -> tuple[pd.DataFrame, str] | None:
    """Return the kept table of the record set in `file` and the fingerprint of its records; None where none holds."""
    try:
        content = json.loads(gzip.decompress((file.parent / FILE).read_bytes()))
        if content["of"] != _identity(file):
            return None
        return _restored(content["columns"], content["rows"]), content["fingerprint"]
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error):
        return None


def write(file: Path, frame: pd.DataFrame, fingerprint: str) -> None:
    """Keep the table of the record set in `file`; a folder that cannot be written changes nothing."""
    try:
        columns = {name: [str(frame[name].dtype), _plain(frame[name])] for name in frame}
        text = json.dumps(columns, separators=(",", ":"), allow_nan=False)
        again = _restored(json.loads(text), len(frame))
        if not (again.equals(frame) and list(again.dtypes) == list(frame.dtypes)):
            return
        head = json.dumps({"of": _identity(file), "fingerprint": fingerprint, "rows": len(frame)})
        whole = f'{head[:-1]}, "columns": {text}}}'
        write_bytes(file.parent / FILE, gzip.compress(whole.encode(), compresslevel=1, mtime=0))
    except (OSError, ValueError, TypeError):
        return


def _identity(file: Path) -> str:
    """Return the digest of what a table is made from: records, plan and code."""
    total, plan = hashlib.sha256(_rules().encode()), file.parent / "plan.json"
    total.update(f"{file.name}\0".encode())
    for path in (file, plan):
        total.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"none")
    return total.hexdigest()


@cache
def _rules() -> str:
    folder = Path(__file__).parent
    code = [*sorted(folder.glob("*.py")), folder.parent / "base/spec.py", schema.SCHEMAS / "record.schema.yaml"]
    files = "\n".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in code)
    return f"{PROTOCOL} {pd.__version__} {np.__version__} {files}"


def _plain(column: pd.Series) -> list[Any]:
    values = column.tolist()
    return [_entry(value) for value in values]


def _entry(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    return value


def _value(entry: Any) -> Any:
    return ODD[entry["number"]] if isinstance(entry, dict) and entry.keys() == {"number"} else entry


def _restored(columns: dict[str, list[Any]], rows: int) -> pd.DataFrame:
    index = pd.RangeIndex(rows)
    found = {
        name: pd.Series(list(map(_value, entries)), index=index, dtype=dtype if dtype in PLAIN else _named(dtype))
        for name, (dtype, entries) in columns.items()
    }
    return pd.DataFrame(found, index=index)


def _named(dtype: str) -> Any:
    """Return a type of pandas by its name: text has one of its own from version 3 on."""
    return pd.StringDtype(na_value=np.nan) if dtype == "str" else dtype
