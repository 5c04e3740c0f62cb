"""The preview picture of a document: which picture is found, and how few bytes are read."""

import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.errors import Undecodable
from tests.data import bitmaps, images, previews
from tests.data.archives import OFFICE
from tests.data.containers import zip_of
from tests.data.writing import HEAD
from tests.support.identifying import drive_reading
from worker.decoding.inside import unpacking
from worker.decoding.inside.unpacking import unpack
from worker.sniffing.identify import identify, identify_document
from worker.sniffing.protocol import MAX_EXTENTS, MAX_PREVIEW_BYTES, Identified
from worker.sniffing.ranges import PREVIEW_RANGES, RANGE_BYTES, PartialFile
from worker.sniffing.zip_preview import thumbnail_target

PNG = images.encode(images.quadrants(), "PNG")
LARGE = images.encode(images.noise(300, 300), "PNG")
"""A picture that is longer than RANGE_BYTES."""


def read(content: bytes, head_bytes: int = HEAD) -> tuple[Identified, list[tuple[int, int]]]:
    """Return the result for a document, and the byte ranges that were read only for its preview."""
    head, size = content[:head_bytes], len(content)
    found, asked = drive_reading(identify_document(head, size), content)
    _, before = drive_reading(identify(PartialFile(head, size)), content)
    assert asked[: len(before)] == before
    further = asked[len(before) :]
    assert len(further) <= PREVIEW_RANGES
    assert all(0 <= start < end <= size for start, end in asked)
    assert all(end - start <= RANGE_BYTES for start, end in further)
    if found.preview is not None:
        extents = found.preview.extents
        assert 1 <= len(extents) <= MAX_EXTENTS
        assert all(0 <= start < end <= size for start, end in extents)
        assert sum(end - start for start, end in extents) <= MAX_PREVIEW_BYTES
    return found, further


def picture_of(content: bytes) -> bytes | None:
    """Return the unpacked preview of a document, or None if the document has no preview."""
    found, _ = read(content)
    if found.preview is None:
        return None
    packed = b"".join(content[start:end] for start, end in found.preview.extents)
    return unpack(io.BytesIO(packed), found.preview.packing).read()


# --- where the picture is ---


@pytest.mark.parametrize("filling", [0, previews.FAR])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("preview", [PNG, LARGE], ids=["small", "large"])
def test_the_preview_of_an_office_document_is_found(
    preview: bytes, compressed: bool, filling: int
) -> None:
    content = previews.docx(
        preview, "docProps/thumbnail.png", filling=filling, compressed=compressed
    )
    assert picture_of(content) == preview


@pytest.mark.parametrize("folder", ["word", "xl", "ppt"])
def test_every_kind_of_office_document_has_previews(folder: str) -> None:
    parts = previews.office_parts((previews.PART, previews.jpeg()), folder=folder)
    assert picture_of(zip_of(parts)) == previews.jpeg()
    with_macros = zip_of([*parts, (f"{folder}/vbaProject.bin", b"macros")])
    assert "macro" in read(with_macros)[0].name
    assert picture_of(with_macros) == previews.jpeg()


@pytest.mark.parametrize("filling", [0, previews.FAR])
@pytest.mark.parametrize("preview", [PNG, LARGE], ids=["small", "large"])
def test_the_preview_of_an_opendocument_file_is_found(preview: bytes, filling: int) -> None:
    assert picture_of(previews.opendocument(preview, filling=filling)) == preview


@pytest.mark.parametrize("gap", [0, 1, 5])
@pytest.mark.parametrize("before", [0, 300])
@pytest.mark.parametrize("shift", [9, 12])
@pytest.mark.parametrize("clipboard", [8, 17])
def test_the_bitmap_in_the_summary_of_an_ole_file_is_found(
    clipboard: int, shift: int, before: int, gap: int
) -> None:
    summary = previews.summary(previews.dib(), clipboard)
    content = previews.doc(summary, gap=gap, before=before, shift=shift)
    found, _ = read(content)
    assert found.preview is not None
    assert len(found.preview.extents) == (2 if gap else 1)
    with Image.open(io.BytesIO(picture_of(content) or b"")) as image:
        assert images.corners(image) == images.opaque(
            images.RED, images.GREEN, images.BLUE, images.WHITE
        )


@pytest.mark.parametrize("picture", [LARGE, images.encode(images.noise(300, 200), "JPEG")])
def test_a_whole_picture_in_the_summary_is_found(picture: bytes) -> None:
    assert picture_of(previews.doc(previews.summary(picture, 0x14D))) == picture


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (previews.relationship("docProps/thumbnail.jpeg"), b"docprops/thumbnail.jpeg"),
        (previews.relationship("/docProps/thumbnail.jpeg"), b"docprops/thumbnail.jpeg"),
        (previews.relationship("/Thumb.PNG"), b"thumb.png"),
        (previews.relationship().replace('"', "'"), b"docprops/thumbnail.jpeg"),
        (previews.relationship().replace("=", " = "), b"docprops/thumbnail.jpeg"),
        (previews.relationship().replace("<R", "<p:R"), b"docprops/thumbnail.jpeg"),
        (previews.relationship(more=' TargetMode="Internal"'), b"docprops/thumbnail.jpeg"),
        (previews.relationship(more=' TargetMode="External"'), None),
        (previews.relationship("../thumbnail.jpeg"), None),
        (previews.relationship("a/../thumbnail.jpeg"), None),
        (previews.relationship("thumbnail.wmf"), None),
        (previews.relationship("thumbnail.emf"), None),
        (previews.relationship().replace("metadata/thumbnail", "metadata/other"), None),
        (previews.relationship().replace("Target", "Other"), None),
        (previews.relationship().replace("/>", ""), None),
        ("", None),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_relationship_leads_to_a_part_of_the_package(
    text: str, part: bytes | None, encoding: str
) -> None:
    assert thumbnail_target(f"<Relationships>{text}</Relationships>".encode(encoding)) == part


# --- what it costs ---


@pytest.mark.parametrize("filling", [0, previews.FAR])
@pytest.mark.parametrize("draw", [previews.docx, previews.opendocument])
def test_a_document_without_a_preview_needs_no_further_range(
    draw: Callable[..., bytes], filling: int
) -> None:
    found, further = read(draw(filling=filling))
    assert (found.preview, further) == (None, [])


@pytest.mark.parametrize("name", OFFICE)
def test_a_file_without_a_preview_is_named_as_before_and_needs_no_further_range(name: str) -> None:
    draw, _, content_type = OFFICE[name]
    found, further = read(draw())
    assert (found, further) == (Identified(content_type), [])


def test_a_summary_of_the_usual_length_needs_no_further_range() -> None:
    content = previews.doc(previews.summary(b"").ljust(4096, b"\0"), before=300)
    assert read(content) == (Identified(previews.DOC), [])


@pytest.mark.parametrize(
    ("content", "further"),
    [
        (previews.docx(PNG, "docProps/a.png"), 0),
        (previews.docx(PNG, "docProps/a.png", filling=previews.FAR), 1),
        (previews.opendocument(PNG, filling=previews.FAR), 0),
        (previews.doc(previews.summary(LARGE, 0x14D), before=300), 1),
    ],
    ids=["docx", "docx-far", "odt", "doc"],
)
def test_few_ranges_are_needed_for_a_preview(content: bytes, further: int) -> None:
    found, asked = read(content)
    assert found.preview is not None
    assert len(asked) == further


# --- hostile documents ---


@pytest.mark.parametrize("title", previews.WITHOUT)
def test_row114_a_preview_that_is_not_sound_is_not_shown(title: str) -> None:
    draw, content_type = previews.WITHOUT[title]
    content = draw()
    assert read(content)[0].name == content_type
    try:
        picture = picture_of(content)
    except Undecodable:
        return
    assert picture is None or title in ("30000-pixels", "30000-pixels-in-doc", "cut-off")


@pytest.mark.parametrize("title", previews.SHOWN)
def test_row114_an_odd_document_has_its_preview(title: str) -> None:
    draw, content_type = previews.SHOWN[title]
    content = draw()
    assert read(content)[0].name == content_type
    with Image.open(io.BytesIO(picture_of(content) or b"")) as image:
        assert image.width in (120, int.from_bytes(b"/*", "little"))


ANY = {
    "docx": previews.docx(PNG, filling=10),
    "odt": previews.opendocument(PNG),
    "doc": previews.doc(previews.summary(previews.dib()), gap=3),
}


@given(data=st.data(), kind=st.sampled_from(sorted(ANY)))
def test_any_change_of_a_document_is_read_within_the_limits(data: st.DataObject, kind: str) -> None:
    content = bytearray(ANY[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 4))
        struct.pack_into("<I", content, at, data.draw(st.integers(0, 2**32 - 1)))
    changed = bytes(content[: data.draw(st.integers(1, len(content)))])
    read(changed, data.draw(st.integers(1, HEAD)))


# --- unpacking in the sandbox ---


def refused(body: bytes, packing: str) -> str:
    """Return the code of the reason why a preview is not unpacked."""
    with pytest.raises(Undecodable) as raised:
        unpack(io.BytesIO(body), packing)
    return raised.value.code


def test_row114_a_preview_is_inflated_only_so_far() -> None:
    packed = previews.raw_deflated(PNG, 900)
    assert len(packed) < MAX_PREVIEW_BYTES
    assert refused(packed, "deflated") == "too_expensive"
    assert refused(PNG + bytes(unpacking.MAX_UNPACKED_BYTES), "stored") == "too_expensive"


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "ICO"])
def test_row114_only_the_simplest_formats_are_previews(kind: str) -> None:
    assert refused(images.encode(images.quadrants(), kind), "stored") == "unsupported"


@pytest.mark.parametrize("body", [b"", b"\0" * 9, b"\xff" * 99, previews.raw_deflated(PNG, 1)[:90]])
def test_row114_bytes_that_cannot_be_inflated_are_damaged(body: bytes) -> None:
    assert refused(body, "deflated") in ("damaged", "unsupported")


_PIXEL = bytes([50, 100, 200])
_MASKS = struct.pack("<III", 0x7C00, 0x3E0, 0x1F)


@pytest.mark.parametrize(
    "content",
    [
        bitmaps.bmp(1, b"\xff" * 240, palette=bitmaps.PALETTE),
        bitmaps.bmp(4, b"\x11" * 600, palette=bitmaps.PALETTE),
        bitmaps.bmp(8, b"\1" * 1200, palette=bitmaps.PALETTE),
        bitmaps.bmp(24, _PIXEL * 1200),
        bitmaps.bmp(24, _PIXEL * 1200, height=-30),
        bitmaps.bmp(32, (_PIXEL + b"\xff") * 1200, header_bytes=124),
        bitmaps.bmp(16, struct.pack("<H", 0x7C00) * 1200, compression=3, masks=_MASKS),
    ],
    ids=["1", "4", "8", "24", "24-from-top", "32-long-header", "16-masks"],
)
def test_a_bitmap_without_its_file_header_gets_it_again(content: bytes) -> None:
    unpacked = unpack(io.BytesIO(content[14:]), "dib").read()
    with Image.open(io.BytesIO(content)) as wanted, Image.open(io.BytesIO(unpacked)) as found:
        assert found.convert("RGB").tobytes() == wanted.convert("RGB").tobytes()


@given(body=st.binary(max_size=200))
def test_any_bytes_as_a_bitmap_are_refused_or_get_a_header(body: bytes) -> None:
    for start in (b"", b"\x28\0\0\0", b"\x0c\0\0\0"):
        try:
            assert unpack(io.BytesIO(start + body), "dib").read(2) == b"BM"
        except Undecodable:
            assert refused(start + body, "dib") == "damaged"
