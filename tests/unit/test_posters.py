"""Posters of films: the chosen frame, its orientation, shape and colours, and the facts."""

import io
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial

import pytest
from PIL import Image

from shared.errors import Undecodable
from shared.facts import Thumbnail
from tests.data import films, images
from tests.support.thumbnails import are_close
from worker.decoding.inside import films as inside
from worker.decoding.inside.pieces import STEP_BYTES, MissingRange
from worker.posters import MAX_RANGES, MAX_READ_BYTES

pytestmark = pytest.mark.slow

HEAD_BYTES = 64 * 1024
COLOURS = images.opaque(images.RED, images.GREEN, images.BLUE, images.WHITE)
BT709, BT2020, PQ = 1, 9, 16


def make(
    content: bytes, *, most: int = MAX_READ_BYTES, edges: Sequence[int] = (320,)
) -> tuple[Thumbnail, list[tuple[int, int]]]:
    """Make a poster as a worker does; return it with the ranges that were read."""
    extents = [(0, min(HEAD_BYTES, len(content)))]
    while True:
        read = sum(end - start for start, end in extents)
        file = io.BytesIO(b"".join(content[start:end] for start, end in extents))
        final = read >= most or len(extents) > MAX_RANGES
        film = {"size": len(content), "extents": extents, "final": final}
        try:
            made = inside.make_thumbnail(file, {"film": film, "edges": edges})
        except MissingRange as missing:
            assert not final
            extents.append((missing.start, min(missing.end, missing.start + most - read)))
        else:
            return made, extents


def opened(made: Thumbnail) -> Image.Image:
    image = Image.open(io.BytesIO(made.pictures[0].body))
    image.load()
    return image


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "mpeg4"),
        ("mp4", "libx264"),
        ("mp4", "libx265"),
        ("mp4", "libsvtav1"),
        ("mov", "mpeg4"),
        ("3gp", "mpeg4"),
        ("matroska", "libx264"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
    ],
)
def test_films_of_each_kind_have_a_poster_a_size_and_a_duration(kind: str, codec: str) -> None:
    made, _ = make(films.film(kind, codec, seconds=3, size=(640, 480)))
    assert made.reason is None
    assert (made.facts.width, made.facts.height) == (640, 480)
    assert made.facts.duration == pytest.approx(
        3, abs=0.15
    )  # some containers count the first frame twice
    assert made.facts.thumbhash
    image = opened(made)
    assert (made.content_type, made.extension, image.format) == ("image/jpeg", "jpg", "JPEG")
    assert image.size == (320, 240)
    assert are_close(images.corners(image), COLOURS)


@pytest.mark.parametrize(
    ("rotation", "mirrored", "turn"),
    [
        (0, False, None),
        (90, False, Image.Transpose.ROTATE_90),
        (180, False, Image.Transpose.ROTATE_180),
        (-90, False, Image.Transpose.ROTATE_270),
        (0, True, Image.Transpose.FLIP_LEFT_RIGHT),
        (180, True, Image.Transpose.FLIP_TOP_BOTTOM),
    ],
)
def test_row79_a_film_is_turned_as_its_matrix_says(
    rotation: int, mirrored: bool, turn: Image.Transpose | None
) -> None:
    made, _ = make(films.film(size=(640, 480), rotation=rotation, mirrored=mirrored))
    upright = images.quadrants(320, 240)
    upright = upright if turn is None else upright.transpose(turn)
    image = opened(made)
    assert image.size == upright.size
    assert (made.facts.width, made.facts.height) == (upright.width * 2, upright.height * 2)
    assert are_close(images.corners(image), images.corners(upright))


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (640, 240)), (Fraction(1, 2), (320, 480))]
)
def test_pixels_that_are_not_square_are_stretched(aspect: Fraction, size: tuple[int, int]) -> None:
    made, _ = make(films.film(aspect=aspect))
    assert (made.facts.width, made.facts.height) == size
    assert opened(made).size == ((320, 120) if aspect > 1 else (213, 320))


def test_a_poster_is_made_in_each_style() -> None:
    made, _ = make(films.film(size=(640, 480), rotation=90), edges=(320, 64, 1000))
    assert [(each.width, each.height) for each in made.pictures] == [
        (240, 320),
        (48, 64),
        (480, 640),
    ]


def test_a_black_start_is_not_the_poster() -> None:
    black = [Image.new("RGB", (320, 240))] * 30
    made, _ = make(films.film(frames=black + [images.quadrants(320, 240)] * 30))
    assert are_close(images.corners(opened(made)), COLOURS)
    made, _ = make(films.film(frames=black))
    assert opened(made).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize(
    ("size", "colours"),
    [((320, 240), None), ((1280, 720), None), ((320, 240), (BT709, BT709, BT709))],
    ids=["small", "high definition", "declared"],
)
def test_a_poster_has_the_colours_that_players_show(
    size: tuple[int, int], colours: tuple[int, int, int] | None
) -> None:
    if colours is None and size[0] == 1280:  # encoded in BT.709, but the file does not state it
        content = films.film(codec="libx264", size=size, colours=(BT709, 2, 2))
        content = content.replace(b"colr", b"free")
    else:
        content = films.film(codec="libx264", size=size, colours=colours)
    assert are_close(images.corners(opened(make(content)[0])), COLOURS)


def test_a_film_of_high_range_is_mapped_to_srgb() -> None:
    white_paper = Image.new("RGB", (320, 240), (148, 148, 148))  # 203 cd/m² in PQ
    made, _ = make(
        films.film(codec="libx265", frames=[white_paper] * 5, colours=(BT2020, BT2020, PQ))
    )
    assert are_close(images.corners(opened(made)), images.opaque(*[(188, 188, 188)] * 4))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("mp4", {}),
        ("mp4", {"moov_size": "65536"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("matroska", {}),
        ("avi", {}),
        ("mpegts", {}),
    ],
    ids=["end", "start", "fragments", "matroska", "avi", "ts"],
)
def test_only_the_ranges_that_the_poster_needs_are_read(kind: str, options: dict[str, str]) -> None:
    content = films.film(kind, frames=films.noise(60), options=options)
    assert len(content) > 10_000_000
    made, extents = make(content)
    assert made.reason is None
    assert sum(end - start for start, end in extents) < 4_000_000
    assert len(extents) <= 8
    # FFmpeg would report the length of the fragments that it has read
    assert made.facts.duration == (None if "movflags" in options else pytest.approx(60, abs=0.2))


@pytest.mark.parametrize(("kind", "known"), [("mp4", True), ("matroska", True), ("avi", False)])
def test_row72_a_film_that_is_cut_off_keeps_its_poster(kind: str, known: bool) -> None:
    options = {"moov_size": "65536"} if kind == "mp4" else {}
    content = films.film(kind, frames=films.noise(20), options=options)
    made, _ = make(content[: len(content) // 2])
    assert made.reason == "damaged"
    assert (made.facts.duration == pytest.approx(20)) is known
    assert opened(made).size == (320, 240)


def fault_of(content: bytes, **given: int) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        make(content, **given)  # type: ignore[arg-type]  # each case gives `most` alone
    return caught.value


@pytest.mark.parametrize(
    ("draw", "code"),
    [
        (films.without_frames, "damaged"),
        (partial(films.film, seconds=0), "unsupported"),  # FFmpeg writes no track
        (films.boxes_alone, "damaged"),
        (films.sound, "unsupported"),
        (partial(films.film, "matroska", "ffv1"), "unsupported"),
        (lambda: b"\0\0\1\xba" + bytes(2000), "unsupported"),
        (lambda: b"", "unsupported"),
    ],
    ids=["no frame", "no track", "no track list", "sound", "rare codec", "other format", "empty"],
)
def test_a_film_without_a_poster_has_a_reason(draw: partial[bytes], code: str) -> None:
    assert fault_of(draw()).code == code


def test_a_film_of_a_rare_codec_keeps_its_size_and_duration() -> None:
    facts = fault_of(films.film("matroska", "ffv1")).facts
    assert (facts.width, facts.height, facts.duration) == (320, 240, 2.0)


def test_a_film_that_needs_too_many_bytes_is_too_expensive() -> None:
    content = films.film(frames=films.noise(20))
    assert make(content, most=HEAD_BYTES + 2 * STEP_BYTES)[0].reason is None
    assert fault_of(content, most=HEAD_BYTES).code == "too_expensive"


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi", "mpegts"])
def test_row78_a_film_with_changed_bytes_ends_in_a_poster_or_a_reason(kind: str) -> None:
    from random import Random

    whole = films.film(kind, "mpeg4", seconds=1, size=(64, 48))
    for seed in range(60):
        random = Random(seed)
        content = bytearray(whole)
        for _ in range(random.choice((1, 4, 64))):
            content[random.randrange(len(content))] = random.randrange(256)
        with suppress(Undecodable):
            made, _ = make(bytes(content[: random.choice((len(whole), len(whole) // 2))]))
            assert max(opened(made).size) <= 320
