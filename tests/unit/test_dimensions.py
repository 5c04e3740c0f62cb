"""Width and height of images that the worker does not decode, as their headers give them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import images, seeds
from tests.data.disguised import photoshop
from worker.decoding.inside.images import load_codecs
from worker.sniffing.dimensions import READERS, read_dimensions

load_codecs()  # lets Pillow write every format in the cases below


@pytest.mark.parametrize(
    ("content_type", "kind", "options"),
    [
        ("image/bmp", "BMP", {}),
        ("image/tiff", "TIFF", {}),
        ("image/tiff", "TIFF", {"big_tiff": True}),
        ("image/avif", "AVIF", {}),
        ("image/jp2", "JPEG2000", {}),
        ("image/vnd.microsoft.icon", "ICO", {"sizes": [(16, 16), (120, 80)]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_size_is_read_from_the_header(
    content_type: str, kind: str, options: dict[str, object]
) -> None:
    content = images.encode(images.quadrants(), kind, **options)
    assert read_dimensions(content_type, content[:65536]) == (120, 80)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(kind: str, orientation: int) -> None:
    content = images.oriented(orientation, kind)
    content_type = {"TIFF": "image/tiff", "AVIF": "image/avif", "HEIF": "image/heic"}[kind]
    load_codecs({"heic"})
    load_codecs()
    assert read_dimensions(content_type, content) == (120, 80)


def test_a_bitmap_from_the_top_down_and_an_old_one_are_read_too() -> None:
    body = images.encode(images.quadrants(), "BMP")
    assert read_dimensions("image/bmp", body[:22] + struct.pack("<i", -80)) == (120, 80)
    old = body[:14] + struct.pack("<IHH", 12, 120, 80)
    assert read_dimensions("image/bmp", old) == (120, 80)


def test_a_photoshop_document_has_a_size_and_other_types_none() -> None:
    assert read_dimensions("image/vnd.adobe.photoshop", photoshop()) == (120, 80)
    assert read_dimensions("text/plain", photoshop()) is None


@pytest.mark.parametrize("content_type", sorted(READERS))
@given(head=st.binary(max_size=200))
def test_any_bytes_give_a_size_or_none(content_type: str, head: bytes) -> None:
    size = read_dimensions(content_type, head)
    assert size is None or all(0 < edge < 2**31 for edge in size)


@pytest.mark.parametrize("name", seeds.MORE)
def test_a_truncated_header_gives_the_size_or_none(name: str) -> None:
    content_type = f"image/{name.rpartition('.')[2]}"
    whole = read_dimensions(content_type, seeds.seed(name))
    assert whole is not None
    for end in range(0, min(len(seeds.seed(name)), 2000), 7):
        assert read_dimensions(content_type, seeds.seed(name)[:end]) in (None, whole)
