"""Headers of JPEG files: scans, segments, unknown bytes, and kinds that are not decoded."""

from contextlib import nullcontext

import pytest

from shared.errors import Undecodable
from tests.data import images, odd_images
from tests.data.pieces import segment, with_segments
from tests.support.thumbnails import are_close, make_and_open, raises_code
from worker.decoding.inside.jpeg import MAX_SCANS, MAX_SEGMENTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("behind", [b"", b"\0" * 4, b"\xff\xfe\0\2" * 9000, b"\xff\0" * 100_000])
@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "sequential"])
def test_row74_scans_are_counted_after_any_segments(progressive: bool, behind: bytes) -> None:
    for count, outcome in ((0, nullcontext()), (MAX_SCANS + 1, raises_code("too_expensive"))):
        content = odd_images.many_scans(count, progressive=progressive)
        for place in (content.index(b"\xff\xdb"), content.rindex(b"\xff\xda")):
            with outcome:
                make_and_open(content[:place] + behind + content[place:])


def test_row74_a_file_with_too_many_segments_is_broken() -> None:
    content = odd_images.many_scans(0)
    comment = b"\xff\xfe\0\2"
    make_and_open(with_segments(content, comment * (MAX_SEGMENTS - 100)))
    with raises_code("damaged"):
        make_and_open(with_segments(content, comment * MAX_SEGMENTS))


def test_row74_scan_markers_at_impossible_places_do_not_count() -> None:
    content = odd_images.many_scans(0)
    looks_like = b"\xff\xda" * (MAX_SCANS + 1)
    film = make_and_open(content + looks_like)[0]
    assert film.body == make_and_open(content)[0].body
    assert make_and_open(with_segments(content, segment(0xED, looks_like)))[0].body == film.body
    at = content.rindex(b"\xff\xc4")  # a position between two scans
    between = content[:at] + segment(0xED, looks_like) + content[at:]
    assert make_and_open(between)[0].body == film.body


@pytest.mark.parametrize(
    "junk", [b"\0", b"\0\0", b"\0\0\0", b"junk" * 50_000, b"\xff\0", b"\xff\xff"]
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_junk_between_segments_breaks_no_jpeg(junk: bytes, options: dict[str, bool]) -> None:
    whole = images.encode(images.quadrants(), "JPEG", **options)
    for marker in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda"):
        at = whole.index(marker)
        _, image = make_and_open(whole[:at] + junk + whole[at:])
        assert are_close(images.corners(image), images.MODES["jpeg-rgb"][1])


@pytest.mark.parametrize("size", range(1, 64 * 1024 * 2, 64 * 1024 - 1))
def test_a_marker_is_found_where_one_reading_ends_and_the_next_begins(size: int) -> None:
    whole = images.encode(images.quadrants(), "JPEG")
    at = whole.index(b"\xff\xc0")
    for more in range(4):
        junk = bytes(size + more)
        with raises_code("unsupported"):
            make_and_open(whole[:at] + junk + b"\xff\xc3" + whole[at + 2 :])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"precision": 12}, id="12-bit"),
        pytest.param({"precision": 16}, id="16-bit"),
        pytest.param({"components": 2}, id="two-components"),
        pytest.param({"components": 5}, id="five-components"),
        *(
            pytest.param({"marker": marker}, id=f"SOF{marker & 15}")
            for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
        ),
    ],
)
def test_a_jpeg_of_a_kind_that_is_not_decoded_is_unsupported(kind: dict[str, int]) -> None:
    with pytest.raises(Undecodable, match="unsupported"):
        make_and_open(odd_images.jpeg_variant(**kind))


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0", b"\xff\xd8\xff\xff"])
def test_a_jpeg_that_ends_in_its_header_is_truncated(content: bytes) -> None:
    with pytest.raises(Undecodable, match="damaged"):
        make_and_open(content)


def test_a_jpeg_with_a_damaged_header_is_broken() -> None:
    body = images.encode(images.quadrants(), "JPEG")
    with pytest.raises(Undecodable, match="damaged"):
        make_and_open(body[:20] + bytes(300) + body[320:])


def test_bytes_before_the_jpeg_header_cause_no_further_reading() -> None:
    body = images.encode(images.quadrants(), "JPEG")
    filled = body[:2] + b"\xff" * 100 + body[2:]
    assert are_close(images.corners(make_and_open(filled)[1]), images.MODES["jpeg-rgb"][1])
