"""Each file of the hostile corpus has the faults that its name describes, and always the same
bytes.
"""

import io
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from random import Random

import pytest
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from tests.data import bombs, costly_images, damaged, disguised, further, metadata
from tests.data.hostile_corpus import SAMPLES
from tests.data.mutations import mutated
from tests.data.pieces import (
    MIB,
    bits_from_left,
    bits_from_right,
    deflated_zeros,
    exif,
    gif,
    gif_frame,
    png_chunks,
    webp,
    webp_of_one_colour,
    with_segments,
)
from tests.data.sample import Sample
from tests.data.seeds import ALWAYS, MORE, seed

pytestmark = pytest.mark.soak

ELSEWHERE = {68, 79, 80, 87, 88}
"""Rows of limits.md whose files need a store or a worker; tests/acceptance/test_bad_files.py tests
them.
"""


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove Pillow's own limit for the size of images, as the decoder does."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def opened(content: bytes) -> Image.Image:
    """Open an image without decoding its pixels."""
    return Image.open(io.BytesIO(content))


def by_title(title: str) -> Sample:
    """Return the file of the corpus with this title."""
    (found,) = (sample for sample in SAMPLES + further.SAMPLES if sample.title == title)
    return found


def test_every_row_has_files_and_every_file_a_name_of_its_own() -> None:
    assert {sample.row for sample in SAMPLES} - {0} == {*range(67, 90), 114} - ELSEWHERE
    every = SAMPLES + further.SAMPLES
    assert len({sample.name for sample in every}) == len(every)
    assert all(re.fullmatch(r"[^\s\[\]]+", sample.name) for sample in every)
    assert all(sample.allowed for sample in every)


def test_every_file_is_the_same_every_time_it_is_drawn() -> None:
    changing = [
        sample.name for sample in SAMPLES + further.SAMPLES if sample.content != sample.draw()
    ]
    assert not changing


@pytest.mark.parametrize("name", [*ALWAYS, *MORE])
def test_seeds_are_drawn_the_same_and_are_sound(name: str) -> None:
    draw = {**ALWAYS, **MORE}[name]
    assert draw() == draw() == seed(name)
    if name not in ("pdf", "text.pdf", "svg", "heic", "jxl", "lossless.jxl"):
        with opened(seed(name)) as image:
            image.load()


@pytest.mark.parametrize(
    ("title", "size"),
    [
        ("png-30000", (30_000, 30_000)),
        ("png-30000-whole", (30_000, 30_000)),
        ("png-2^31-1", (2**31 - 1, 2**31 - 1)),
        ("png-50-megapixels-not-there", (3, 16_666_667)),
        ("png-50-megapixels", (5000, 10_000)),
        ("gif-65535", (65_535, 65_535)),
        ("gif-frame-beyond-its-screen", (65_535, 65_535)),
        ("gif-second-frame-65535", (1, 1)),
        ("jpeg-65500", (65_500, 65_500)),
        ("jpeg-65535-progressive", (65_535, 65_535)),
        ("jpeg-49-megapixels-510-scans", (7000, 7000)),
        ("png-49-megapixels-16-bits", (7000, 7000)),
        ("png-50000000×1", (50_000_000, 1)),
        ("webp-1×16384", (1, 16_384)),
        ("jpeg-1×20000", (1, 20_000)),
        ("tiff-30000", (30_000, 30_000)),
        ("avif-16384", (16_384, 16_384)),
    ],
)
def test_the_size_of_the_header_is_the_size_in_the_name(title: str, size: tuple[int, int]) -> None:
    assert opened(by_title(title).content).size == size


def test_bombs_are_small() -> None:
    assert max(len(sample.content) for sample in bombs.SAMPLES) < 5 * MIB
    # Row 74 of limits.md gives these numbers: 49 megapixels, 510 scans, 326 kB.
    assert 320_000 < len(costly_images.progressive_scans(510)) < 335_000


@pytest.mark.parametrize("draw", [costly_images.progressive_scans, costly_images.sequential_scans])
@pytest.mark.parametrize("count", [4, 100])
def test_a_jpeg_of_many_scans_has_so_many_and_is_sound(
    draw: Callable[[int, int], bytes], count: int
) -> None:
    content = draw(count, 64)
    assert content.count(b"\xff\xda") == count
    with opened(content) as image:
        image.load()
        assert bool(image.info.get("progressive")) is (draw is costly_images.progressive_scans)
        assert len(image.getcolors() or ()) == 1


@pytest.mark.parametrize(
    "draw",
    [lambda count: gif(gif_frame() * count), costly_images.apng, costly_images.webp_frames],
    ids=["gif", "apng", "webp"],
)
def test_an_animation_has_so_many_frames(draw: Callable[[int], bytes]) -> None:
    # Read the file in a new process. In this process, another test may have enabled the decoder's
    # PNG reader, which skips frames.
    read = """import io, sys
from PIL import Image
with Image.open(io.BytesIO(sys.stdin.buffer.read())) as image:
    image.seek(49)
    image.load()
    print(image.n_frames)
"""
    ended = subprocess.run(
        [sys.executable, "-c", read], input=draw(50), capture_output=True, check=True
    )
    assert ended.stdout == b"50\n"


@pytest.mark.parametrize("name", ["avif", "heic"])
def test_an_iso_media_image_has_the_size_of_its_header(name: str) -> None:
    content = further.declared_type(name, 30_000)
    whole = seed(name)
    assert len(content) == len(whole)
    at = content.index(b"ispe") + 8
    assert content[at : at + 8] == struct.pack("!II", 30_000, 30_000)
    # The rest of the file is unchanged, except that the cropping box (`clap`) has another name.
    assert whole[:at].replace(b"clap", b"free") == content[:at]
    assert whole[at + 8 :].replace(b"clap", b"free") == content[at + 8 :]


@pytest.mark.parametrize("junk", [bytes(4), b"\xff\xfe\0\2" * 10_001], ids=["zeros", "segments"])
def test_decoders_skip_segments_that_hide_scans(junk: bytes) -> None:
    content = costly_images.many_scans_after(junk)
    assert content.count(b"\xff\xda") > 510
    with opened(content) as image:
        image.load()


def test_a_gif_in_tiny_blocks_is_sound() -> None:
    with opened(costly_images.gif_in_tiny_blocks(80)) as image:
        image.load()
        assert image.size == (80, 80)


def test_an_image_of_one_colour_needs_no_bits() -> None:
    content = webp(webp_of_one_colour(300, 200))
    assert len(content) < 40
    with opened(content) as image:
        image.load()
        assert image.size == (300, 200)
        assert len(image.getcolors() or ()) == 1


def test_zeros_inflate_to_so_many() -> None:
    assert zlib.decompress(deflated_zeros(3)) == bytes(3 * MIB)
    assert len(deflated_zeros(300)) < MIB


@pytest.mark.parametrize("title", ["ztxt", "itxt", "iccp", "ztxt-after-the-pixels"])
def test_a_bomb_of_text_inflates_to_300_mib(title: str) -> None:
    kinds = {b"zTXt": 9, b"iTXt": 12, b"iCCP": 9}
    (packed,) = (
        body[kinds[kind] :] for kind, body in png_chunks(by_title(title).content) if kind in kinds
    )
    inflater = zlib.decompressobj()
    left, total = packed, 0
    while not inflater.eof:
        total += len(inflater.decompress(left, 16 * MIB))
        left = inflater.unconsumed_tail
    assert total == 300 * MIB


@pytest.mark.parametrize("name", [*damaged.STILL, *further.STILL])
def test_cut_files_are_beginnings_and_flipped_files_differ_in_few_bits(name: str) -> None:
    whole = seed(name)
    for part in range(1, damaged.PIECES):
        content = damaged.cut(name, part)
        assert whole.startswith(content)
        assert abs(len(content) / len(whole) - part / 16) < 0.01
    for number in range(damaged.FLIPPED):
        content = damaged.flipped(name, number)
        differences = [one ^ other for one, other in zip(content, whole, strict=True)]
        assert 1 <= sum(value.bit_count() for value in differences) <= 8


def test_a_file_of_two_types_opens_as_either() -> None:
    for kind in ("png+zip", "gif+jar", "webp+zip", "jpeg+zip", "jpeg+jar"):
        content = by_title(kind).content
        with opened(content) as image:
            image.load()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
    for sample in disguised.POLYGLOTS:
        assert b"payload-4711" in sample.content or "jar" in sample.title


def test_profiles_are_without_the_time_and_read_where_they_are_sound() -> None:
    assert metadata.profile("sRGB")[24:36] == bytes(12)
    assert len({bytes(made) for made in metadata.PROFILES.values()}) == len(metadata.PROFILES)
    for extension in ("jpg", "png", "webp"):
        content = by_title(f"{extension}-profile-for-lab").content
        assert opened(content).info["icc_profile"] == metadata.profile("LAB")


def test_exif_is_read_where_it_is_sound() -> None:
    turned = exif([(0x0112, 3, 1, b"\6\0\0\0")])
    assert opened(metadata.jpeg_with_exif(turned)).getexif()[0x0112] == 6
    with opened(metadata.png_with_exif(turned)) as image:
        assert image.getexif()[0x0112] == 6


def test_a_photo_of_several_images_has_so_many_and_its_second_can_be_moved() -> None:
    assert getattr(opened(metadata.mpo(3)), "n_frames", 1) == 3
    with opened(metadata.mpo_with_offset(7)) as moved:
        assert isinstance(moved, MpoImageFile)
        assert (moved.mpinfo or {})[0xB002][1]["DataOffset"] == 7


def test_bits_are_packed_from_either_end() -> None:
    assert bits_from_left([(1, 1), (0, 3), (5, 4)]) == b"\x85"
    assert bits_from_left([(0, 1)]) == b"\x7f"
    assert bits_from_left([(255, 8)]) == b"\xff\x00"
    assert bits_from_right([(1, 1), (0, 3), (5, 4)]) == b"\x51"


def test_segments_come_after_the_beginning() -> None:
    assert with_segments(b"\xff\xd8rest", b"a", b"b") == b"\xff\xd8abrest"


@pytest.mark.parametrize("name", [*ALWAYS, *MORE])
def test_mutations_are_the_same_every_time_and_nearly_all_are_changed(name: str) -> None:
    made = [mutated(name, number) for number in range(50)]
    assert made == [mutated(name, number) for number in range(50)]
    assert all(made)
    assert len(set(made)) >= 48
    assert sum(content != seed(name) for content in made) >= 48


def test_mutations_depend_on_no_randomness_but_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.data.mutations.Random", lambda words: Random(f"other {words}"))
    other = mutated("png", 1)
    monkeypatch.undo()
    assert mutated("png", 1) != other
