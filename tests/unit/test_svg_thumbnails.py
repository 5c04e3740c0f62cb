"""Thumbnails of SVG drawings are sharp and complete, and use no other file and no script."""

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from shared.errors import Undecodable
from shared.facts import Thumbnail
from tests.data import drawings, images
from tests.data.drawings import data_url, picture, svg
from tests.support.decoders import opened
from worker.decoding.formats import Box
from worker.decoding.inside import fonts
from worker.decoding.inside import svg as svg_reader
from worker.decoding.pool import DecoderPool
from worker.sniffing.dimensions import read_dimensions

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is that of Linux")
HAS_FONTS = pytest.mark.skipif(not fonts.installed(), reason="no font that is used is installed")


def make(content: bytes) -> tuple[Thumbnail, Image.Image]:
    """Make a thumbnail of a drawing; return it and its opened image."""
    made = svg_reader.make_thumbnail(io.BytesIO(content))
    image = Image.open(io.BytesIO(made.body))
    image.load()
    return made, image


def raises_code(content: bytes) -> str:
    """Return the code of the reason why a drawing gets no thumbnail."""
    with pytest.raises(Undecodable) as raised:
        make(content)
    return raised.value.code


def test_a_drawing_fills_the_thumbnail_and_has_its_own_size() -> None:
    made, image = make(svg())
    assert (made.facts.width, made.facts.height) == (120, 80)
    assert (made.content_type, made.extension, image.size) == ("image/png", "png", (320, 213))
    assert images.corners(image) == images.opaque(
        images.RED, images.GREEN, images.BLUE, images.WHITE
    )


def test_what_is_not_drawn_is_transparent() -> None:
    _, image = make(svg('<rect width="60" height="80" fill="#f00" fill-opacity=".5"/>'))
    assert image.mode == "RGBA"
    assert image.getpixel((300, 100)) == images.CLEAR
    assert image.getpixel((50, 100)) == (255, 0, 0, 128)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        pytest.param('width="30" height="20"', (30, 20), id="numbers"),
        pytest.param('width="30px" height="20px"', (30, 20), id="pixels"),
        pytest.param("width='3in' height='1in'", (288, 96), id="inches"),
        pytest.param('width="25.4mm" height="2.54cm"', (96, 96), id="millimetres"),
        pytest.param('width="72pt" height="6pc"', (96, 96), id="points"),
        pytest.param('viewBox="0 0 44 22"', (44, 22), id="box"),
        pytest.param('viewBox="-5,-5,44.2,22"', (44, 22), id="box-with-commas"),
        pytest.param('width="22" viewBox="0 0 44 22"', (22, 22), id="width-and-box"),
        pytest.param('height="44" viewBox="0 0 44 22"', (44, 44), id="height-and-box"),
        pytest.param('width="100%" height="100%" viewBox="0 0 44 22"', (44, 22), id="percent"),
        pytest.param('width="1" height="9e8"', (1, 900_000_000), id="narrow"),
    ],
)
def test_the_size_is_that_of_the_root_also_without_a_decoder(
    attributes: str, size: tuple[int, int]
) -> None:
    content = svg(size=attributes)
    made, _ = make(content)
    assert (made.facts.width, made.facts.height) == size
    assert read_dimensions("image/svg+xml", content) == size


@pytest.mark.parametrize(
    "attributes",
    ["", 'width="100%"', 'width="9em" height="9em"', 'viewBox="0 0 0 9"', 'viewBox="a"'],
)
def test_without_a_size_in_the_root_none_is_read_from_it(attributes: str) -> None:
    assert read_dimensions("image/svg+xml", svg(size=attributes)) is None


def test_any_start_of_a_drawing_gives_its_size_or_none() -> None:
    whole = svg(size='width="30.5" height="20e0" viewBox="0 0 9 9"')
    for end in range(len(whole)):
        assert read_dimensions("image/svg+xml", whole[:end]) in (None, (31, 20))


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-32", ""),
        ("iso8859-1", "ISO-8859-1"),
        ("cp1251", "windows-1251"),
    ],
)
def test_a_drawing_is_read_in_its_encoding(encoding: str, declared: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    _, image = make(svg(before=head).decode().encode(encoding))
    assert image.size == (320, 213)


def test_an_encoding_that_is_not_read_is_unsupported() -> None:
    assert raises_code(svg(before='<?xml version="1.0" encoding="IBM037"?>')) == "unsupported"


def test_row70_a_script_has_no_effect() -> None:
    script = "<script>document.documentElement.remove()</script>"
    _, image = make(svg(script + drawings.QUADRANTS, size='width="120" height="80" onload="x()"'))
    assert images.corners(image)[0] == (255, 0, 0, 255)


def test_row70_a_picture_inside_a_drawing_is_shown() -> None:
    _, image = make(drawings.with_picture())
    assert images.corners(image)[0] == (255, 0, 0, 255)


@pytest.mark.parametrize("scheme", ["", "file://", "http://127.0.0.1:9"])
def test_row70_no_file_and_no_address_is_opened(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(images.encode(images.quadrants(), "PNG"))
    before = sorted(os.listdir("/dev/fd"))
    _, image = make(svg(picture(f"{scheme}{path}")))
    assert image.getextrema() == ((0, 0),) * 4
    # No file can be opened while a drawing is rendered. Afterwards, it is possible again.
    assert sorted(os.listdir("/dev/fd")) == before


def test_row70_a_drawing_inside_a_drawing_opens_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(images.encode(images.quadrants(), "PNG"))
    inner = svg(picture(str(path)))
    _, image = make(svg(picture(data_url(inner, "image/svg+xml"))))
    assert image.getextrema() == ((0, 0),) * 4


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(svg()[:-40], id="cut-off"),
        pytest.param(b"<html/>", id="another-root"),
        pytest.param(svg(size='width="0" height="9"'), id="no-area"),
        pytest.param(svg(size='width="-5" height="9"'), id="negative"),
        pytest.param(drawings.entities(9), id="entities-multiply"),
        pytest.param(
            svg("&e;", before='<!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/hostname">]>'),
            id="external-entity",
        ),
    ],
)
def test_row72_a_broken_drawing_is_damaged(content: bytes) -> None:
    assert raises_code(content) == "damaged"


def test_entities_as_drawing_programs_write_them_are_resolved() -> None:
    declared = '<!DOCTYPE svg [<!ENTITY red "#f00">]>'
    _, image = make(svg('<rect width="120" height="80" fill="&red;"/>', before=declared))
    assert images.corners(image)[0] == (255, 0, 0, 255)


def test_a_drawing_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg_reader, "MAX_BYTES", len(svg()) - 1)
    assert raises_code(svg()) == "too_expensive"


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert make(svg())[0].body == make(svg())[0].body


@HAS_FONTS
@pytest.mark.parametrize("family", ["", "Arial", "No Such Font", "Helvetica", "monospace"])
def test_text_is_drawn_in_a_font_of_the_machine(family: str) -> None:
    named = f'font-family="{family}"' if family else ""
    _, image = make(svg(f'<text y="60" font-size="50" {named}>abc</text>'))
    assert image.getchannel("A").getextrema() == (0, 255)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(drawings.multiplying(7), "too_expensive", id="uses"),
        pytest.param(drawings.LAYERS, "too_expensive", id="memory"),
        pytest.param(drawings.DEEP, "too_expensive", id="stack"),
        pytest.param(drawings.HUGE_PICTURE, "too_expensive", id="picture"),
    ],
)
async def test_row74_a_drawing_that_takes_too_much_is_no_fault_of_the_decoder(
    content: str | bytes, code: str
) -> None:
    pool = DecoderPool(1, timeout_s=10, kind=Box.DRAWINGS)
    drawing = content if isinstance(content, bytes) else svg(content)
    try:
        with opened(drawing) as descriptor, pytest.raises(Undecodable, match=f"^{code}$"):
            await pool.decode(1, descriptor)
        with opened(svg()) as descriptor:
            assert (await pool.decode(1, descriptor)).facts.width == 120
    finally:
        await pool.close()


@LINUX
@pytest.mark.slow
@HAS_FONTS
async def test_a_sealed_decoder_draws_text() -> None:
    pool = DecoderPool(1, timeout_s=20, kind=Box.DRAWINGS, must_be_sealed=True)
    try:
        with opened(svg('<text y="60" font-size="50">abc</text>')) as descriptor:
            made = await pool.decode(1, descriptor)
    finally:
        await pool.close()
    assert Image.open(io.BytesIO(made.body)).getchannel("A").getextrema() == (0, 255)
