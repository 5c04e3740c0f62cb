"""Archives and OLE files with wrong lengths, wrong offsets, an unusual order, or a missing end."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.containers import ole_of, scattered_ole_of, zip64_of, zip_of
from tests.data.writing import jar
from tests.support.identifying import drive_reading, read_container
from worker.sniffing.iso_media import identify_iso_media
from worker.sniffing.matroska import identify_matroska
from worker.sniffing.ole import identify_compound
from worker.sniffing.ranges import RANGE_BYTES, RANGES, PartialFile
from worker.sniffing.zip import identify_archive

JAR = "application/java-archive"
MANIFEST = ("META-INF/MANIFEST.MF", b"")
MSI_CLASS = "000c1084-0000-0000-c000-000000000046"


# --- reading a file in ranges ---


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
        found, ranges = drive_reading(file.look(start, length), content)
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
    found, ranges = drive_reading(file.look_far(start, end), content)
    assert found == content[start:end]
    assert ranges == ([(max(start, 9), end)] if end > max(start, 9) else [])
    again = drive_reading(file.look_far(start, size), content)
    assert again == (content[start:end], []) if ranges else len(again[1]) <= 1


# --- tests of ZIP archives ---


def _with_end(content: bytes, **fields: int) -> bytes:
    """Replace fields in the end record of a ZIP archive that has no comment."""
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
            id="says-it-after-prefix",
        ),
        pytest.param(jar(before=1023, after=1500), JAR, id="name-across-two-ranges"),
        pytest.param(PLAIN + bytes(5000), JAR, id="zeros-behind"),
        pytest.param(PLAIN + b"PK\5\6", JAR, id="cut-end-behind"),
        pytest.param(PLAIN + (b"PK\5\6" + bytes(18)) * 2500 + b"\0", JAR, id="empty-ends-behind"),
        pytest.param(PLAIN + b"PK\5\6" + bytes(18), "application/zip", id="empty-one-behind"),
        pytest.param(b"words" + zip64_of([MANIFEST]), JAR, id="zip64-after-prefix"),
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
def test_an_archive_is_judged_as_java_reads_it(content: bytes, found: str | None) -> None:
    assert read_container(identify_archive, content) == found


def test_many_false_end_records_hide_no_archive() -> None:
    lie = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, 100, 0, 9)
    assert read_container(identify_archive, PLAIN + lie * 2500) == JAR
    far = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, 100_000, 0, 9)
    assert read_container(identify_archive, bytes(3 * RANGE_BYTES) + PLAIN + far * 2500, 9) == JAR


def test_a_type_in_broken_deflate_is_ignored() -> None:
    content = zip_of([("mimetype", b"application/epub+zip")], compressed=True)
    start = content.index(b"mimetype") + 8
    assert read_container(identify_archive, content) == "application/epub+zip"
    broken = content[:start] + b"\xff" * 8 + content[start + 8 :]
    assert read_container(identify_archive, broken) == "application/zip"


# --- tests of OLE files ---


def test_an_installer_is_one_by_its_class_or_by_the_names_of_its_tables() -> None:
    assert read_container(identify_compound, ole_of(["a"], clsid=MSI_CLASS)) == "application/x-msi"
    assert read_container(identify_compound, ole_of(["a", "\u4840\u3b3f"])) == "application/x-msi"
    assert (
        read_container(identify_compound, ole_of(["a", "b\u4840"])) == "application/x-ole-storage"
    )


WORD_CLASS = "00020906-0000-0000-c000-000000000046"


@pytest.mark.parametrize("before", range(0, 12, 3))
def test_a_directory_in_several_pieces_is_read_by_its_chain(before: int) -> None:
    names = [*(f"a{index}" for index in range(before)), "Workbook", "b"]
    content = scattered_ole_of(names, clsid=WORD_CLASS)
    assert read_container(identify_compound, content) == "application/vnd.ms-excel"
    other = scattered_ole_of([*names[:-2], "b", "c"])
    assert read_container(identify_compound, other) == "application/x-ole-storage"


def test_a_chain_of_sectors_that_is_a_ring_ends() -> None:
    content = bytearray(scattered_ole_of(["a", "b", "c", "d", "Workbook"]))
    content[512 + 4 : 512 + 8] = struct.pack("<I", 1)
    assert read_container(identify_compound, bytes(content)) == "application/x-ole-storage"


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
    found = read_container(identify_compound, bytes(content))
    assert found in ("application/x-ole-storage", "application/msword")


def test_siblings_in_a_ring_are_each_looked_at_once() -> None:
    content = bytearray(ole_of(["a", "b", "c"]))
    for entry in (1, 2, 3):
        at = 512 + entry * 128 + 68
        content[at : at + 8] = struct.pack("<II", entry % 3 + 1, entry)
    assert read_container(identify_compound, bytes(content)) == "application/x-ole-storage"


@given(st.binary(max_size=400))
def test_no_bytes_break_the_readers_of_containers(content: bytes) -> None:
    identify_matroska(b"\x1a\x45\xdf\xa3" + content)
    read_container(identify_iso_media, content[:4] + b"ftyp" + content)
    read_container(identify_iso_media, content[:4] + b"moov" + content)
    read_container(
        identify_compound, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\3") + content
    )
    read_container(identify_archive, content + PLAIN[-22:])
