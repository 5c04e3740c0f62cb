"""Containers that lie about their lengths, places and order, or are cut."""

import struct
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.containers import (
    box,
    element,
    file_type,
    matroska,
    movie,
    ole_of,
    zip64_of,
    zip_of,
)
from tests.data.documents import jar
from worker.sniffing.iso_media import identify_iso_media
from worker.sniffing.matroska import identify_matroska
from worker.sniffing.ole import identify_compound
from worker.sniffing.ranges import RANGE_BYTES, RANGES, PartialFile, Reading
from worker.sniffing.zip import identify_archive

JAR = "application/java-archive"
MANIFEST = ("META-INF/MANIFEST.MF", b"")
T = TypeVar("T")
MSI_CLASS = "000c1084-0000-0000-c000-000000000046"


def driven(reading: Reading[T], content: bytes) -> tuple[T, list[tuple[int, int]]]:
    """Give what comes of reading a file, and the ranges that were asked for and sent."""
    asked = []
    try:
        start, end = next(reading)
        while True:
            asked.append((start, end))
            start, end = reading.send(content[start:end])
    except StopIteration as read:
        found: T = read.value
    return found, asked


def read(
    identify: Callable[[PartialFile], Reading[T]], content: bytes, head_bytes: int = RANGE_BYTES
) -> T:
    """Have a container named, with whatever is asked for."""
    return driven(identify(PartialFile(content[:head_bytes], len(content))), content)[0]


# --- pieces ---


@given(data=st.data(), head_bytes=st.integers(0, 50), size=st.integers(0, 120))
def test_a_piece_is_given_as_it_is_in_the_file_and_asked_for_once(
    data: st.DataObject, head_bytes: int, size: int
) -> None:
    content = bytes(range(size))
    head = content[:head_bytes]
    file = PartialFile(head, size)
    asked: list[tuple[int, int]] = []
    for _ in range(6):
        start, length = data.draw(st.integers(-5, 130)), data.draw(st.integers(0, 60))
        found, ranges = driven(file.look(start, length), content)
        asked += ranges
        assert all(len(head) <= first < end <= size for first, end in ranges)
        assert all(end - first <= length for first, end in ranges)
        wanted = content[start : start + length] if start >= 0 else b""
        assert wanted.startswith(found)
        assert len(asked) == RANGES or len(found) == len(wanted)
    assert len(asked) <= RANGES


@given(data=st.data(), size=st.integers(0, 120))
def test_much_is_asked_for_once(data: st.DataObject, size: int) -> None:
    content = bytes(range(size))
    file = PartialFile(content[:9], size, ranges=0)
    start, end = sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
    found, ranges = driven(file.look_far(start, end), content)
    assert found == content[start:end]
    assert ranges == ([(max(start, 9), end)] if end > max(start, 9) else [])
    again = driven(file.look_far(start, size), content)
    assert again == (content[start:end], []) if ranges else len(again[1]) <= 1


# --- ZIP ---


def _with_end(content: bytes, **fields: int) -> bytes:
    """Write other numbers into the end of a central directory that has no comment."""
    names = ("disk", "first", "here", "count", "length", "offset", "comment")
    values = dict(zip(names, struct.unpack("<4H2IH", content[-18:]), strict=True)) | fields
    return content[:-18] + struct.pack("<4H2IH", *values.values())


PLAIN = zip_of([("a", b"b"), MANIFEST])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(_with_end(PLAIN, offset=7), JAR, id="offset-lies"),
        pytest.param(_with_end(PLAIN, count=0), JAR, id="count-0"),
        pytest.param(_with_end(PLAIN, count=65535), None, id="count-beyond-length"),
        pytest.param(_with_end(PLAIN, length=2**32 - 1), None, id="length-beyond-file"),
        pytest.param(_with_end(PLAIN, length=30), None, id="length-into-an-entry"),
        pytest.param(_with_end(PLAIN, length=0, count=0), "application/zip", id="length-0"),
        pytest.param(
            b"words" + zip_of([("a", b"b"), ("mimetype", b"application/epub+zip")]),
            "application/epub+zip",
            id="says-it-behind-prefix",
        ),
        pytest.param(jar(before=1023, after=1500), JAR, id="name-across-two-ranges"),
        pytest.param(PLAIN + bytes(5000), JAR, id="zeros-behind"),
        pytest.param(PLAIN + b"PK\5\6", JAR, id="cut-end-behind"),
        pytest.param(PLAIN + (b"PK\5\6" + bytes(18)) * 2500 + b"\0", JAR, id="empty-ends-behind"),
        pytest.param(PLAIN + b"PK\5\6" + bytes(18), "application/zip", id="empty-one-behind"),
        pytest.param(b"words" + zip64_of([MANIFEST]), JAR, id="zip64-behind-prefix"),
        pytest.param(PLAIN[:-22], None, id="no-end"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(zip_of([("n" * 65535, b"")] * 1 + [MANIFEST]), JAR, id="name-of-64-KiB"),
        pytest.param(
            zip_of([("x" * 60000 + str(n), b"") for n in range(9)] + [MANIFEST]),
            JAR,
            id="long-names-fill-all-that-is-read",
        ),
        pytest.param(zip_of([("mimetype", b"text/html")]), "application/zip", id="says-html"),
        pytest.param(zip_of([("mimetype", b"image/png")]), "application/zip", id="says-png"),
        pytest.param(zip_of([("lib/META-INF/MANIFEST.MF", b"")]), "application/zip", id="deeper"),
        pytest.param(zip_of([("app/AndroidManifest.xml", b"")]), "application/zip", id="sources"),
        pytest.param(zip_of([("word/document.xml", b"")]), "application/zip", id="no-types"),
    ],
)
def test_an_archive_is_what_java_would_find_in_it(content: bytes, found: str | None) -> None:
    assert read(identify_archive, content) == found


def test_many_ends_that_lie_hide_no_archive() -> None:
    lie = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, 100, 0, 9)
    assert read(identify_archive, PLAIN + lie * 2500) == JAR
    far = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, 100_000, 0, 9)
    assert read(identify_archive, bytes(3 * RANGE_BYTES) + PLAIN + far * 2500, 9) == JAR


def test_an_entry_that_says_its_type_in_broken_deflate_is_not_believed() -> None:
    content = zip_of([("mimetype", b"application/epub+zip")], compressed=True)
    start = content.index(b"mimetype") + 8
    assert read(identify_archive, content) == "application/epub+zip"
    broken = content[:start] + b"\xff" * 8 + content[start + 8 :]
    assert read(identify_archive, broken) == "application/zip"


# --- OLE ---


def test_an_installer_is_one_by_its_class_or_by_the_names_of_its_tables() -> None:
    assert read(identify_compound, ole_of(["a"], clsid=MSI_CLASS)) == "application/x-msi"
    assert read(identify_compound, ole_of(["a", "\u4840\u3b3f"])) == "application/x-msi"
    assert read(identify_compound, ole_of(["a", "b\u4840"])) == "application/x-ole-storage"


@pytest.mark.parametrize(
    ("place", "number"),
    [
        pytest.param(30, b"\0\0", id="sectors-of-1"),
        pytest.param(30, b"\xff\xff", id="sectors-of-2**65535"),
        pytest.param(48, b"\xff" * 4, id="directory-nowhere"),
        pytest.param(48, b"\xfe\xff\xff\x7f", id="directory-beyond-the-end"),
        pytest.param(512 + 76, b"\0\0\0\0", id="root-is-its-own-child"),
        pytest.param(512 + 128 + 64, b"\xff\xff", id="name-of-64-KiB"),
        pytest.param(512 + 128 + 64, b"\1\0", id="name-of-1-byte"),
    ],
)
def test_an_ole_file_that_lies_is_some_ole_file(place: int, number: bytes) -> None:
    content = bytearray(ole_of(["WordDocument"]))
    content[place : place + len(number)] = number
    found = read(identify_compound, bytes(content))
    assert found in ("application/x-ole-storage", "application/msword")


def test_siblings_in_a_ring_are_each_looked_at_once() -> None:
    content = bytearray(ole_of(["a", "b", "c"]))
    for entry in (1, 2, 3):
        at = 512 + entry * 128 + 68
        content[at : at + 8] = struct.pack("<II", entry % 3 + 1, entry)
    assert read(identify_compound, bytes(content)) == "application/x-ole-storage"


# --- boxes ---


def _sized(length: int, name: bytes, body: bytes = b"") -> bytes:
    return struct.pack("!I4s", length, name) + body


@pytest.mark.parametrize(
    "middle",
    [
        pytest.param(_sized(0, b"mdat"), id="to-the-end"),
        pytest.param(_sized(7, b"mdat"), id="shorter-than-its-head"),
        pytest.param(_sized(1, b"mdat", struct.pack("!Q", 0)), id="long-of-0"),
        pytest.param(_sized(1, b"mdat", struct.pack("!Q", 2**63)), id="long-of-2**63"),
        pytest.param(_sized(1, b"mdat", struct.pack("!Q", 2**64 - 1)), id="long-of-2**64-1"),
        pytest.param(_sized(2**32 - 1, b"free"), id="beyond-the-end"),
        pytest.param(struct.pack("!I", 4), id="shorter-than-its-name"),
        pytest.param(box(b"free") * 7000, id="thousands-of-boxes"),
    ],
)
def test_a_film_whose_boxes_lie_is_taken_for_one_with_pictures(middle: bytes) -> None:
    content = file_type(b"isom") + middle + movie(b"soun")
    assert read(identify_iso_media, content) == "video/mp4"


@pytest.mark.parametrize(
    ("about", "found"),
    [
        pytest.param(movie(b"soun", b"soun"), "audio/mp4", id="sound"),
        pytest.param(movie(b"soun", b"text"), "audio/mp4", id="sound-and-text"),
        pytest.param(movie(), "video/mp4", id="no-track"),
        pytest.param(box(b"moov", box(b"trak")), "video/mp4", id="empty-track"),
        pytest.param(
            box(b"moov", box(b"trak", box(b"mdia", box(b"hdlr")))), "video/mp4", id="empty-handler"
        ),
        pytest.param(box(b"moov", movie(b"soun")[8:], bytes(4)), "audio/mp4", id="zeros-at-end"),
        pytest.param(movie(*[b"soun"] * 300), "video/mp4", id="hundreds-of-tracks"),
        pytest.param(movie(b"soun")[:-40], "video/mp4", id="cut-in-a-track"),
        pytest.param(box(b"moov", *[box(b"trak")] * 8000), "video/mp4", id="thousands-of-tracks"),
    ],
)
def test_a_film_is_sound_if_all_its_tracks_are(about: bytes, found: str) -> None:
    assert read(identify_iso_media, file_type(b"isom") + about) == found


@pytest.mark.parametrize(
    ("brands", "found"),
    [
        ([b"avis", b"msf1"], "image/avif"),
        ([b"msf1", b"hevc"], "image/heic-sequence"),
        ([b"MiHE", b"mif1", b"heix"], "image/heic"),
        ([b"miaf", b"mif1"], "image/heif"),
        ([b"isom", b"avif"], "video/mp4"),
        ([b"dby1", b"iso6"], "video/mp4"),
        ([b"M4B ", b"M4A "], "audio/mp4"),
        ([b"3g2a"], "video/3gpp2"),
        ([b"crx ", b"isom"], "image/x-canon-cr3"),
        ([b"mjp2", b"mj2s", b"isom"], "video/mj2"),
        ([b"jp2 "], None),
        ([b"zzzz", b"yyyy"], None),
        ([], None),
    ],
)
def test_a_file_of_boxes_is_named_by_its_brands(brands: list[bytes], found: str | None) -> None:
    assert read(identify_iso_media, file_type(b"".join(brands[:1]), *brands[1:])) == found


def test_a_brand_that_has_a_name_of_its_own_keeps_it() -> None:
    def identify(file: PartialFile) -> Reading[str | None]:
        return identify_iso_media(file, named=True)

    assert read(identify, file_type(b"abcd", b"isom") + movie(b"vide")) is None
    assert read(identify_iso_media, file_type(b"abcd", b"isom") + movie(b"vide")) == "video/mp4"
    assert read(identify, file_type(b"isom", b"abcd") + movie(b"soun")) == "audio/mp4"


# --- Matroska ---


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(matroska(b"webm", 2, 1)[: -508 - 8], "video/webm", id="tracks-cut"),
        pytest.param(matroska(b"webm", 2, 17), "video/webm", id="sound-and-subtitles"),
        pytest.param(matroska(b"webm\0\0", 2), "audio/webm", id="padded-kind"),
        pytest.param(matroska(b"other", 1), None, id="another-kind"),
        pytest.param(b"\x1a\x45\xdf\xa3", None, id="cut"),
        pytest.param(b"\x1a\x45\xdf\xa3" + bytes(99), None, id="zeros"),
        pytest.param(b"\x1a\x45\xdf\xa3\xff" + b"\x1a\x45\xdf\xa3\xff" * 9999, None, id="nested"),
        pytest.param(
            element("1A45DFA3", element("4282", b"webm"))
            + b"\x18\x53\x80\x67\x01"
            + b"\xff" * 7
            + element("1654AE6B", element("AE", element("83", b"\2"))),
            "audio/webm",
            id="of-unknown-length",
        ),
    ],
)
def test_matroska_is_named_by_its_kind_and_the_tracks_that_were_seen(
    content: bytes, found: str | None
) -> None:
    assert identify_matroska(content) == found


@given(st.binary(max_size=400))
def test_no_bytes_break_what_reads_containers(content: bytes) -> None:
    identify_matroska(b"\x1a\x45\xdf\xa3" + content)
    read(identify_iso_media, content[:4] + b"ftyp" + content)
    read(identify_iso_media, content[:4] + b"moov" + content)
    read(identify_compound, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\3") + content)
    read(identify_archive, content + PLAIN[-22:])
