"""Types and sizes of files whose type the installed libmagic does not know or finds wrongly."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.raws import SIZE, dng, far_raw, raf, tiff
from tests.data.sounds import asf
from tests.data.unlisted import UNLISTED, icon, unix_archive
from tests.data.writing import HEAD, jar
from tests.support.identifying import drive_reading, measure, read_container
from worker.sniffing.dimensions import find_dimensions
from worker.sniffing.ranges import PartialFile
from worker.sniffing.raws import TIFF_RAWS, identify_raw
from worker.sniffing.tiff_tags import Size
from worker.sniffing.unlisted import identify_unlisted

SIZED = [
    *("qoi", "jp2", "jpx", "jph", "j2c", "dng", "nef", "nef-big-endian", "arw", "pef", "srw"),
    *("3fr", "raw-of-another-camera", "cr2", "rw2", "orf", "orf-big-endian", "jphc", "mrw", "x3f"),
    *("tga-that-begins-like-a-cursor", "tga-in-grey"),
]
FAR = [
    *("arw-with-a-far-directory", "nef-with-a-far-directory", "cr2-with-far-exif"),
    *("dng-with-a-far-crop", "raf", "raf-of-an-old-camera"),
]
"""Camera raws whose size is after the head."""


def size_of(content_type: str, content: bytes) -> tuple[Size | None, int]:
    """Return the size that is found in a file, and the number of ranges that were requested."""
    finding = find_dimensions(content_type, content[:HEAD], len(content))
    size, asked = drive_reading(finding, content)
    assert sum(end - start for start, end in asked) <= 4096
    return size, len(asked)


@pytest.mark.parametrize("name", UNLISTED)
def test_a_file_gets_its_type(name: str) -> None:
    make, content_type = UNLISTED[name]
    assert measure(make())[0] == content_type


@pytest.mark.parametrize("name", SIZED)
def test_an_image_gets_the_size_of_its_picture(name: str) -> None:
    make, content_type = UNLISTED[name]
    assert size_of(content_type, make()) == (SIZE, 0)


@pytest.mark.parametrize("name", FAR)
def test_a_raw_gets_the_size_of_its_picture_by_one_more_range(name: str) -> None:
    make, content_type = UNLISTED[name]
    assert size_of(content_type, make()) == (SIZE, 1)


def test_a_turned_raw_gets_its_upright_size() -> None:
    assert size_of("image/x-adobe-dng", dng(orientation=6)) == ((4000, 6000), 0)
    assert size_of("image/x-fuji-raf", raf(orientation=8)) == ((4000, 6000), 1)


@pytest.mark.parametrize("content_type", ["image/x-sony-arw", "image/x-fuji-raf"])
def test_a_raw_whose_size_lies_after_its_end_gets_no_size(content_type: str) -> None:
    preview_only = tiff({256: 160, 257: 120, 262: 2, 330: 9_000_000})
    assert size_of(content_type, preview_only) == (None, 0)
    assert size_of(content_type, raf()[:100_000])[0] is None
    assert size_of(content_type, far_raw(b"SONY")[:100_000])[0] is None


def test_a_canon_cr3_gets_the_size_in_its_first_directory() -> None:
    head = bytes(200) + b"CMT1" + tiff({256: SIZE[0], 257: SIZE[1]})
    assert size_of("image/x-canon-cr3", head) == (SIZE, 0)


@pytest.mark.parametrize("name", UNLISTED)
def test_a_file_that_is_cut_off_gets_a_type_and_raises_nothing(name: str) -> None:
    content = UNLISTED[name][0]()
    for end in [*range(0, min(len(content), 300), 3), len(content) // 2, len(content) - 1]:
        measure(content[:end])
        size_of(UNLISTED[name][1], content[:end])


@given(st.binary(max_size=300), st.integers(0, 2**63))
def test_no_bytes_raise(head: bytes, size: int) -> None:
    drive_reading(identify_unlisted(PartialFile(head, size)), head)
    for start in (b"II*\0\x10\0\0\0", b"MM\0*\0\0\0\x10", b"II+\0\x08\0\0\0\x10" + bytes(7)):
        assert read_container(identify_raw, start + head) in (None, *TIFF_RAWS)


def test_directories_that_name_each_other_end() -> None:
    loop = bytearray(tiff({256: 9, 257: 9, 330: 16}))
    assert measure(bytes(loop))[0] == "image/tiff"


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(4, b"\0\0", id="no-picture"),
        pytest.param(9, b"\1", id="reserved-field"),
        pytest.param(12, b"\7", id="bits"),
        pytest.param(14, b"\xff\xff\xff\0", id="longer-than-the-file"),
        pytest.param(18, b"\1\0\0\0", id="picture-in-the-directory"),
    ],
)
def test_a_directory_that_is_no_icon_s_makes_no_icon(at: int, value: bytes) -> None:
    content = icon()
    broken = content[:at] + value + content[at + len(value) :]
    assert read_container(identify_unlisted, broken) is None


def test_asf_without_a_stream_in_its_head_stays_asf() -> None:
    assert measure(asf())[0] == "video/x-ms-asf"
    endless = asf("audio")[:46] + struct.pack("<Q", 0) + asf("audio")[54:]
    assert measure(endless)[0] == "video/x-ms-asf"


def test_a_jar_that_a_member_does_not_hold_exactly_is_a_program() -> None:
    content = unix_archive(b"abc", jar())
    header = content.rindex(b"`\n", 0, content.index(b"PK\3\4")) - 10
    wrong = content[:header] + b"%-10d" % 5 + content[header + 10 :]
    assert measure(wrong)[0] == "application/java-archive"
