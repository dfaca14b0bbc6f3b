"""What a page has in itself: packed and unpacked again, smaller images, the library that a package ships."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_page import runs_of

from kanbench.base.errors import MissingData
from kanbench.pages import embedding


def drawn(form: str, address: str) -> np.ndarray:
    kind, _, content = address.partition(";base64,")
    assert kind == f"data:image/{form}"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGB"))


def test_what_is_packed_is_unpacked_and_packed_alike_again():
    text = "a line with “quotes” and </script>\n" * 500
    assert embedding.unpacked(embedding.packed(text)) == text
    assert embedding.packed(text) == embedding.packed(text)
    assert len(embedding.packed(text)) < len(text) / 50


def test_records_lie_in_blocks_in_their_order():
    records = [{"run": str(number)} for number in range(2 * embedding.BLOCK + 1)]
    blocks = [json.loads(embedding.unpacked(block)) for block in embedding.blocks(records)]
    assert [len(block) for block in blocks] == [embedding.BLOCK, embedding.BLOCK, 1]
    assert [record for block in blocks for record in block] == records
    assert embedding.blocks([]) == []


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_the_same_numbers(numbers):
    assert runs_of(embedding.ranges(numbers)) == sorted(numbers)


def test_neighbours_become_a_range():
    assert embedding.ranges([12, 3, 7, 8, 9, 10, 11, 3]) == "3 7-12"


def test_an_image_of_few_colours_loses_nothing_and_most_of_its_bytes():
    picture = np.full((300, 400, 3), 255, dtype=np.uint8)
    picture[40:200, 60:300] = (0, 114, 178)
    picture[100:120, :, :] = (230, 159, 0)
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    address = embedding.image(png.getvalue())
    assert (drawn("webp", address) == picture).all()
    assert len(address) < len(png.getvalue())


def test_the_library_is_the_one_that_its_package_ships():
    library = embedding.library()
    script = embedding.unpacked(library["script"])
    assert " as default" in script
    assert "DataTables" in script
    assert "table.dataTable" in library["style"]


def test_a_package_without_its_library_is_named(tmp_path, monkeypatch):
    class Hollow:
        version = "0"

        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(embedding.importlib.metadata, "distribution", lambda name: Hollow())
    with pytest.raises(MissingData, match=r"itables 0 without its tables.*\n.*pip install"):
        embedding.library()
