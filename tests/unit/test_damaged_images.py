"""A truncated image is measured, shown as far as its data goes, and reported as damaged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from PIL import Image

from shared.errors import Undecodable
from tests.data import images, odd_images, seeds
from tests.support.thumbnails import looks_like, make_and_open

pytestmark = pytest.mark.slow


def cut(content: bytes) -> tuple[str | None, int | None, int | None, bool]:
    """Make a thumbnail of an image that may be truncated.

    Return the reason, the width, the height, and whether there is a thumbnail.
    """
    try:
        made, _ = make_and_open(content)
    except Undecodable as error:
        return error.code, error.facts.width, error.facts.height, False
    return made.reason, made.facts.width, made.facts.height, not made.facts.carries_more


WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: images.encode(images.noise(200, 150), "JPEG"),
    "jpeg-progressive": lambda: images.encode(images.noise(200, 150), "JPEG", progressive=True),
    "jpeg-shrunk-decoding": lambda: images.encode(images.noise(1300, 900), "JPEG"),
    "jpeg-flat": lambda: images.encode(images.quadrants(), "JPEG", progressive=True),
    "png": lambda: images.encode(images.noise(200, 150), "PNG"),
    "png-flat": lambda: images.encode(images.quadrants(), "PNG"),
    "gif": lambda: images.encode(images.noise(200, 150).convert("P"), "GIF"),
    "webp": lambda: images.encode(images.noise(200, 150), "WEBP"),
    "webp-lossless": lambda: images.encode(images.noise(200, 150), "WEBP", lossless=True),
    **{f"{kind.lower()}-animated": partial(odd_images.animation, kind) for kind in ("GIF", "WEBP")},
    "apng": lambda: odd_images.animation("PNG"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_row72_wherever_it_is_cut_it_is_damaged_and_measured(name: str) -> None:
    whole = WHOLE[name]()
    made, _ = make_and_open(whole)
    assert made.reason is None
    sizes = [len(whole) * sixteenth // 16 for sixteenth in range(1, 16)]
    found = [cut(whole[:size]) for size in sizes]
    found += [cut(whole[:-missing]) for missing in (4, 12, 16)]
    assert {code for code, *_ in found} == {"damaged"}
    measured = (made.facts.width, made.facts.height)
    assert all(tuple(size) in ((None, None), measured) for _, *size, _ in found)
    assert [shown for *_, shown in found].count(True) >= 10


MUCH_THERE: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "jpeg-progressive": ("JPEG", {"progressive": True}),
    "jpeg-grey": ("JPEG", {"mode": "L"}),
    "jpeg-cmyk": ("JPEG", {"mode": "CMYK"}),
    "png": ("PNG", {}),
    "png-grey": ("PNG", {"mode": "L"}),
    "png-palette": ("PNG", {"mode": "P"}),
    "png-one-bit": ("PNG", {"mode": "1"}),
    "png-alpha": ("PNG", {"mode": "RGBA"}),
    "gif": ("GIF", {"mode": "P", "interlace": 0}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("name", MUCH_THERE)
def test_row72_the_decoded_part_of_a_cut_image_is_shown(name: str) -> None:
    kind, options = MUCH_THERE[name]
    drawn = Image.blend(images.quadrants(960, 640), images.noise(960, 640), 0.3)
    whole = images.encode(
        drawn.convert(options.get("mode", "RGB")),
        kind,
        **{key: value for key, value in options.items() if key != "mode"},
    )
    wanted = make_and_open(whole)[1].convert("RGBA")
    made, image = make_and_open(whole[: len(whole) * 2 // 3])
    assert (made.reason, made.facts.width, made.facts.height) == ("damaged", 960, 640)
    found = image.convert("RGBA")
    upper = (0, 0, found.width, found.height // 3)
    assert looks_like(found.crop(upper), wanted.crop(upper), within=12)
    if kind != "JPEG":
        assert found.getpixel((found.width - 9, found.height - 9)) == images.CLEAR


def test_row72_a_jpeg_cut_between_its_scans_is_damaged() -> None:
    whole = images.encode(images.noise(200, 150), "JPEG", progressive=True)
    scans = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    assert len(scans) > 5
    for at in [*scans[1:], len(whole) - 2]:
        assert make_and_open(whole[:at])[0].reason == "damaged"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_only_bytes_that_are_not_blank_count_as_more_after_an_image(kind: str) -> None:
    whole = images.encode(images.quadrants(), kind)
    for tail, more in ((b"\0" * 4096, False), (b"\r\n \t", False), (b"\0<html>", True)):
        made, image = make_and_open(whole + tail)
        assert (made.reason, made.facts.carries_more) == (None, more)
        assert image.tobytes() == make_and_open(whole)[1].tobytes()


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_with_a_complete_first_frame_is_shown_for_every_cut(kind: str) -> None:
    frames = [images.noise(120, 80), *(images.noise(120, 80).rotate(180) for _ in range(3))]
    if kind == "GIF":
        frames = [frame.convert("P") for frame in frames]
    whole = images.encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=90)
    wanted = make_and_open(whole)[1].convert("RGB")
    for missing in (0.4, 0.2, 0.05):
        made, image = make_and_open(whole[: int(len(whole) * (1 - missing))])
        assert (made.reason, made.facts.width, made.facts.height) == ("damaged", 120, 80)
        assert looks_like(image, wanted, within=3)


@pytest.mark.usefixtures("more_formats")
@pytest.mark.parametrize("name", seeds.MORE)
def test_row72_more_formats_are_damaged_wherever_they_are_cut(name: str) -> None:
    whole = seeds.seed(name)
    make_and_open(whole)
    sizes = [len(whole) * sixteenth // 16 for sixteenth in range(1, 16)]
    for size in [*sizes, *(len(whole) - missing for missing in (1, 2, 4, 12, 16))]:
        assert cut(whole[:size])[0] == "damaged"
