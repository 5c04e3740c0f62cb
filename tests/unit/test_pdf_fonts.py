"""Texts whose fonts are not in the PDF are drawn with fonts that the decoder has in memory."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.data import pdfs
from tests.data.typefaces import squares
from tests.support.decoders import opened, python_with_changed_child
from worker.decoding.formats import Box
from worker.decoding.inside import fonts, pdf, pdf_fonts
from worker.decoding.inside.fonts import HAN, KOREAN, SANS, SERIF, Font
from worker.decoding.pool import DecoderPool

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the seal is that of Linux")

CYRILLIC, GREEK = "\u0411\u0414", "\u0393\u0398"
CHINESE, JAPANESE, HANGUL = "\u4e2d\u6587", "\u304b\u306a", "\ud55c\uad6d"

OWN = (
    Font(family=SANS, has_family_widths=True, data=squares("abc" + CYRILLIC)),
    Font(family=SERIF, has_family_widths=True, data=squares("abc" + GREEK)),
    Font(family=HAN, data=squares(CHINESE + JAPANESE)),
    Font(family=KOREAN, data=squares(HANGUL)),
)


@pytest.fixture
def own_fonts() -> Iterator[None]:
    """Offer fonts whose letters are squares; afterwards, offer those of the machine."""
    pdf_fonts.offer(OWN)
    yield
    pdf_fonts.offer(fonts.installed())


def simple(name: bytes, kind: bytes = b"Type1", glyphs: bytes = b"/a/b") -> bytes:
    """Write a PDF with two letters. Its font has one byte per letter, and names the glyphs."""
    encoding = b"/Encoding<</Type/Encoding/Differences[97%s]>>" % glyphs
    widths = b"/FirstChar 97/LastChar 98/Widths[1000 1000]"
    descriptor = b"<</Type/FontDescriptor/FontName/%s/Flags 32/StemV 80>>" % name
    return pdfs.with_font(
        b"/Subtype/%s/BaseFont/%s%s%s/FontDescriptor 6 0 R" % (kind, name, encoding, widths),
        b"(ab)",
        o6=descriptor,
    )


def composite(name: bytes, ordering: bytes, encoding: bytes, text: str) -> bytes:
    """Write a PDF that shows a text in a font of one of Adobe's Asian character collections."""
    system = b"/CIDSystemInfo<</Registry(Adobe)/Ordering(%s)/Supplement 2>>" % ordering
    return pdfs.with_font(
        b"/Subtype/Type0/BaseFont/%s/Encoding/%s/DescendantFonts[6 0 R]" % (name, encoding),
        b"<%s>" % text.encode("utf-16-be").hex().encode(),
        o6=b"<</Type/Font/Subtype/CIDFontType0/BaseFont/%s%s/FontDescriptor 7 0 R>>"
        % (name, system),
        o7=b"<</Type/FontDescriptor/FontName/%s/Flags 4/StemV 80>>" % name,
    )


def by_glyphs(name: bytes, text: str) -> bytes:
    """Write a PDF whose font has a table of its characters instead of a character collection."""
    pairs = b"".join(b"<%04x><%04x>" % (ord(letter), ord(letter)) for letter in text)
    table = (
        b"/CIDInit/ProcSet findresource begin 9 dict begin begincmap/CMapName/X def/CMapType 2 def"
        b" 1 begincodespacerange<0000><ffff>endcodespacerange"
        b" %d beginbfchar%s endbfchar endcmap end end" % (len(text), pairs)
    )
    return pdfs.with_font(
        b"/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[6 0 R]/ToUnicode 8 0 R"
        % name,
        b"<%s>" % text.encode("utf-16-be").hex().encode(),
        o6=b"<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/DW 1000/FontDescriptor 7 0 R"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>" % name,
        o7=b"<</Type/FontDescriptor/FontName/%s/Flags 4/StemV 80>>" % name,
        o8=pdfs.stream(table),
    )


TEXTS = {
    "cyrillic-in-helvetica": simple(b"Helvetica", glyphs=b"/afii10018/afii10021"),
    "cyrillic-in-arial": simple(b"Arial", b"TrueType", b"/afii10018/afii10021"),
    "cyrillic-in-a-missing-font": simple(b"Nowhere", b"TrueType", b"/afii10018/afii10021"),
    "greek-in-times": simple(b"Times-Roman", glyphs=b"/Gamma/Theta"),
    "chinese": composite(b"STSong-Light", b"GB1", b"UniGB-UCS2-H", CHINESE),
    "traditional-chinese": composite(b"MSung-Light", b"CNS1", b"UniCNS-UCS2-H", CHINESE),
    "japanese": composite(b"HeiseiMin-W3", b"Japan1", b"UniJIS-UCS2-H", JAPANESE),
    "korean": composite(b"HYSMyeongJo-Medium", b"Korea1", b"UniKS-UCS2-H", HANGUL),
    "chinese-by-glyphs": by_glyphs(b"SimSun", CHINESE),
    "japanese-by-glyphs": by_glyphs(b"MS-Gothic", JAPANESE),
    "korean-by-glyphs": by_glyphs(b"Batang,Bold", HANGUL),
    "cyrillic-by-glyphs": by_glyphs(b"ArialMT", CYRILLIC),
    "western-in-a-chinese-font": composite(b"STSong-Light", b"GB1", b"UniGB-UCS2-H", "ab"),
}
"""PDFs with two letters that PDFium cannot draw with its own fonts.

In the last PDF, the letters are Latin, but their font is a Chinese font, which PDFium lacks.
"""

WESTERN = {
    "helvetica": simple(b"Helvetica"),
    "times": simple(b"Times-Roman"),
    "courier-bold": simple(b"Courier-Bold"),
    "arial": simple(b"ArialMT", b"TrueType"),
    "missing": simple(b"Nowhere", b"TrueType"),
    "symbol": pdfs.with_font(b"/Subtype/Type1/BaseFont/Symbol", b"(ab)"),
    "dingbats": pdfs.with_font(b"/Subtype/Type1/BaseFont/ZapfDingbats", b"(ab)"),
}


def ink(content: bytes) -> int:
    """Return the number of dark pixels in the thumbnail of a PDF."""
    return darkness(pdf.make_thumbnail(io.BytesIO(content)).body)


def darkness(body: bytes) -> int:
    return sum(value < 128 for value in Image.open(io.BytesIO(body)).convert("L").tobytes())


SQUARES = 2 * (0.8 * 32) * (0.7 * 32)
"""The area of two squares in a thumbnail, in pixels. A font size of 40 points is 32 pixels."""


@pytest.mark.usefixtures("own_fonts")
@pytest.mark.parametrize("name", TEXTS)
def test_letters_that_pdfium_lacks_are_drawn(name: str) -> None:
    assert ink(TEXTS[name]) == pytest.approx(SQUARES, rel=0.15)


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.startswith("western")])
def test_letters_that_no_font_has_are_left_out(name: str) -> None:
    pdf_fonts.offer(())
    try:
        assert ink(TEXTS[name]) == 0
    finally:
        pdf_fonts.offer(fonts.installed())


@pytest.mark.parametrize("offered", [(), OWN[2:]], ids=["none", "asian-alone"])
@pytest.mark.parametrize("name", WESTERN)
def test_western_letters_are_always_drawn(name: str, offered: tuple[Font, ...]) -> None:
    pdf_fonts.offer(offered)
    try:
        assert ink(WESTERN[name]) > 50
    finally:
        pdf_fonts.offer(fonts.installed())


def test_a_font_of_other_widths_does_not_replace_a_standard_font() -> None:
    pdf_fonts.offer(())
    try:
        usual = ink(WESTERN["helvetica"])
        pdf_fonts.offer((Font(family=SANS, data=squares("abc")),))
        assert ink(WESTERN["helvetica"]) == usual
        pdf_fonts.offer((Font(family=SANS, has_family_widths=True, data=squares("abc")),))
        assert ink(WESTERN["helvetica"]) == pytest.approx(SQUARES, rel=0.15) != usual
    finally:
        pdf_fonts.offer(fonts.installed())


@pytest.mark.parametrize("length", [0, 3, 12, 200])
def test_a_broken_font_harms_no_page(length: int) -> None:
    broken = squares("abc" + CYRILLIC)[:length]
    pdf_fonts.offer((Font(family=SANS, has_family_widths=True, data=broken),))
    try:
        assert ink(WESTERN["missing"]) > 50
        assert ink(TEXTS["cyrillic-in-helvetica"]) >= 0
    finally:
        pdf_fonts.offer(fonts.installed())


def test_a_table_of_a_font_is_found_by_its_name() -> None:
    font = squares("a")
    for name in (b"cmap", b"post"):
        table = pdf_fonts.find_table(font, int.from_bytes(name, "big"))
        assert len(table) > 10
        assert table in font
    assert pdf_fonts.find_table(font, int.from_bytes(b"ttcf", "big")) == b""
    assert pdf_fonts.find_table(b"", 1) == b""


@LINUX
@pytest.mark.slow
@pytest.mark.usefixtures("ended_decoders")
async def test_a_sealed_decoder_draws_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    folder.mkdir()
    folder.joinpath("LiberationSans-Regular.ttf").write_bytes(OWN[0].data)
    folder.joinpath("DroidSansFallbackFull.ttf").write_bytes(OWN[2].data)
    change = f"from worker.decoding.inside import fonts; found = fonts.installed(('{folder}',));"
    change += "fonts.installed = lambda: found"
    monkeypatch.setattr(sys, "executable", python_with_changed_child(tmp_path, change))
    pool = DecoderPool(1, timeout_s=20, kind=Box.DOCUMENTS, must_be_sealed=True)
    try:
        for name in ("cyrillic-in-a-missing-font", "chinese"):
            with opened(TEXTS[name]) as descriptor:
                body = (await pool.decode(1, descriptor)).body
            assert darkness(body) == pytest.approx(SQUARES, rel=0.15)
    finally:
        await pool.close()
