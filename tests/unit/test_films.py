"""Films and other ISO media files with wrong lengths, tracks or brands, and Matroska files."""

import struct

import pytest

from tests.data.containers import box, element, file_type, matroska, movie
from tests.support.identifying import read_container
from worker.sniffing.iso_media import identify_iso_media
from worker.sniffing.matroska import identify_matroska
from worker.sniffing.ranges import PartialFile, Reading


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
    assert read_container(identify_iso_media, content) == "video/mp4"


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
    assert read_container(identify_iso_media, file_type(b"isom") + about) == found


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
        ([b"M4A "], "audio/mp4"),
        ([b"M4P "], "audio/mp4"),
        ([b"F4A "], "audio/mp4"),
        ([b"F4B "], "audio/mp4"),
        ([b"M4V ", b"isom"], "video/x-m4v"),
        ([b"M4VH"], "video/x-m4v"),
        ([b"M4VP"], "video/x-m4v"),
        ([b"F4V "], "video/mp4"),
        ([b"3g2a"], "video/3gpp2"),
        ([b"crx ", b"isom"], "image/x-canon-cr3"),
        ([b"mjp2", b"mj2s", b"isom"], "video/mj2"),
        ([b"jp2 "], None),
        ([b"zzzz", b"yyyy"], None),
        ([], None),
    ],
)
def test_a_file_of_boxes_is_named_by_its_brands(brands: list[bytes], found: str | None) -> None:
    assert read_container(identify_iso_media, file_type(b"".join(brands[:1]), *brands[1:])) == found


def test_a_brand_that_has_a_name_of_its_own_keeps_it() -> None:
    def identify(file: PartialFile) -> Reading[str | None]:
        return identify_iso_media(file, named=True)

    assert read_container(identify, file_type(b"abcd", b"isom") + movie(b"vide")) is None
    assert (
        read_container(identify_iso_media, file_type(b"abcd", b"isom") + movie(b"vide"))
        == "video/mp4"
    )
    assert read_container(identify, file_type(b"isom", b"abcd") + movie(b"soun")) == "audio/mp4"


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
