"""Sealed decoders of films: they start no thread, load no code later, and only request ranges."""

import asyncio
import os
import sys

import pytest

from shared.errors import Undecodable
from shared.facts import Thumbnail
from tests.data import films, images
from tests.support.decoders import opened
from worker.decoding.answers import RangeWanted, checked
from worker.decoding.formats import Box
from worker.decoding.process import Decoder
from worker.decoding.protocol import Film

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux"),
    pytest.mark.usefixtures("ended_decoders"),
]


async def decode(decoder: Decoder, content: bytes, head: int = 4096) -> tuple[Thumbnail, int]:
    """Make a poster as a worker does; return it with the number of ranges that were requested."""
    extents: tuple[tuple[int, int], ...] = ((0, min(head, len(content))),)
    while True:
        with opened(b"".join(content[start:end] for start, end in extents)) as descriptor:
            try:
                film = Film(len(content), extents, final=False)
                return await decoder.decode(descriptor, timeout_s=20, film=film), len(extents) - 1
            except RangeWanted as wanted:
                extents += ((wanted.start, wanted.end),)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mp4", "libx265"),
        ("mp4", "libsvtav1"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
    ],
)
async def test_a_sealed_decoder_makes_posters(kind: str, codec: str) -> None:
    decoder = await Decoder.start(Box.FILMS, ["video"])
    try:
        assert decoder.sealed
        small, _ = await decode(decoder, films.film(kind, codec))
        assert (small.facts.width, small.facts.height) == (320, 240)
        noisy = films.film(kind, codec, frames=films.noise(1, (640, 480))[:3], size=(640, 480))
        large, ranges = await decode(decoder, noisy)
        assert (large.facts.width, large.reason) == (640, None)
        assert ranges > 0
        tasks = await asyncio.to_thread(os.listdir, f"/proc/{decoder.pid}/task")
        assert len(tasks) == 1
    finally:
        await decoder.stop()


async def test_a_decoder_gets_no_further_range_if_its_ranges_are_final() -> None:
    content = films.film(frames=films.noise(2))
    decoder = await Decoder.start(Box.FILMS, ["video"])
    try:
        with opened(content[:4096]) as descriptor:
            film = Film(len(content), ((0, 4096),), final=True)
            with pytest.raises(Undecodable, match="too_expensive"):
                await decoder.decode(descriptor, timeout_s=20, film=film)
            # the same decoder continues with the next job
            film = Film(len(content), ((0, 4096),), final=False)
            with pytest.raises(RangeWanted):
                await decoder.decode(descriptor, timeout_s=20, film=film)
    finally:
        await decoder.stop()


async def test_a_film_of_8k_is_within_the_limit_of_memory() -> None:
    size = (7680, 4320)
    content = films.film("mp4", "libx264", size=size, frames=[images.quadrants(*size)] * 2)
    decoder = await Decoder.start(Box.FILMS, ["video"])
    try:
        made, _ = await decode(decoder, content)
        assert (made.facts.width, made.facts.height) == (7680, 4320)
        _, peak = decoder.resident_bytes()
        assert 0 < peak < 700 * 1024**2
    finally:
        await decoder.stop()


@pytest.mark.parametrize(
    "asked",
    [None, [], [5], [0, 1, 2], [5, 5], [9, 5], [-1, 4], [0, 101], ["0", 5], [0, True], [0.0, 5]],
)
def test_a_range_that_is_not_of_the_film_is_a_malformed_answer(asked: object) -> None:
    with pytest.raises(EOFError):
        checked({"job": "1", "range": asked}, b"", "1", (320,), Film(100, ((0, 9),), final=False))


@pytest.mark.parametrize("film", [None, Film(100, ((0, 9),), final=True)])
def test_a_range_is_accepted_only_for_a_film_whose_ranges_are_not_final(
    film: Film | None,
) -> None:
    with pytest.raises(EOFError):
        checked({"job": "1", "range": [9, 20]}, b"", "1", (320,), film)


def test_a_range_of_the_film_is_passed_on() -> None:
    with pytest.raises(RangeWanted) as caught:
        checked({"job": "1", "range": [9, 100]}, b"", "1", (320,), Film(100, ((0, 9),), False))
    assert (caught.value.start, caught.value.end) == (9, 100)
