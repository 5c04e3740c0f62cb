"""Offer fonts in memory to PDFium, for texts whose fonts are not in the PDF.

By default, PDFium searches the machine's folders for fonts, which a sealed decoder cannot open. So
it would only have its built-in fonts, which lack all letters except those of Western languages.
PDFium asks for fonts through a structure of functions (fpdf_sysfontinfo.h).
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import pypdfium2.raw as pdfium  # type: ignore[import-untyped]  # it has no types

from worker.decoding.inside.fonts import HAN, KOREAN, MONO, SANS, SERIF, WIDE, Font

_KOREAN_CHARSET: Final = 129
_HAN_CHARSETS: Final = frozenset({128, 134, 136})
"""PDFium's numbers for three character sets: Japanese, simplified Chinese, traditional Chinese."""

_WESTERN_CHARSETS: Final = frozenset({0, 1, 2, 77, 255})
"""PDFium's numbers for symbols, and for the character sets for which PDFium has its own fonts."""

_STANDARD: Final = {"Helvetica": SANS, "Times": SERIF, "Courier": MONO}
"""Maps PDFium's names of standard fonts to font families. If a font lacks a letter, PDFium asks for
Helvetica."""

_ASIAN: Final = {
    **dict.fromkeys(("simsun", "nsimsun", "simhei", "fangsong", "kaiti", "stsong", "stheiti"), HAN),
    **dict.fromkeys(("microsoftyahei", "pingfang", "mingliu", "pmingliu", "microsoftjheng"), HAN),
    **dict.fromkeys(("msgothic", "mspgothic", "msmincho", "mspmincho", "meiryo", "yugothic"), HAN),
    **dict.fromkeys(("yumincho", "hiragino", "heisei", "kozmin", "kozgo"), HAN),
    **dict.fromkeys(("batang", "gulim", "dotum", "malgun", "hysmyeongjo", "hygothic"), KOREAN),
}
"""The beginnings of names of Asian fonts, without spaces and hyphens, and the families that replace
them. A font is replaced by its name only if the PDF does not say which characters the font has."""

_BOLD_FROM: Final = 600
_VERSION: Final = 1
_NO_MARKS: Final = str.maketrans("", "", " -_")

_kept: list[Any] = []
"""The structures that PDFium uses, and their functions. They must exist until the process ends."""


class _Offer:
    """The functions that PDFium calls. A font's handle is its index in `fonts`, plus 1."""

    def __init__(self, fonts: Sequence[Font], number: int) -> None:
        self._fonts = fonts
        self._number = number
        self._by_style = {(f.family, f.is_bold, f.is_italic): i for i, f in enumerate(fonts, 1)}

    def find(self, weight: int, *, italic: bool, charset: int, face: str) -> int | None:
        """Return the handle of a font for a text; None if PDFium should use a font of its own."""
        bold = weight >= _BOLD_FROM
        if charset == _KOREAN_CHARSET:
            return self._first((KOREAN, HAN), bold=bold, italic=italic)
        if charset in _HAN_CHARSETS:
            return self._first((HAN, KOREAN), bold=bold, italic=italic)
        for name, family in _STANDARD.items():
            if face.startswith(name):
                # A PDF need not state the widths of these letters, so the font must have them.
                handle = self._first((family,), bold=bold, italic=italic)
                return handle if handle and self._fonts[handle - 1].has_family_widths else None
        plain = face.translate(_NO_MARKS).lower()
        for name, family in _ASIAN.items():
            if plain.startswith(name):
                return self._first((family, HAN), bold=bold, italic=italic)
        if charset not in _WESTERN_CHARSETS:
            return self._first((WIDE, SANS), bold=bold, italic=italic)
        return None  # PDFium has a font, and gives its letters the widths that the PDF states

    def _first(self, families: Sequence[str], *, bold: bool, italic: bool) -> int | None:
        """Return the handle of a font of the first available family, in this style if possible."""
        styles = [(bold, italic), (bold, False), (False, False)]
        found = (self._by_style.get((family, *style)) for family in families for style in styles)
        return next((handle for handle in found if handle is not None), None)

    def map_font(
        self,
        _: Any,
        weight: int,
        italic: int,
        charset: int,
        __: int,
        face: Any,
        ___: Any,
    ) -> int | None:
        name = ctypes.string_at(face).decode("latin-1") if face else ""
        return self.find(weight, italic=bool(italic), charset=charset, face=name)

    def get_font_data(self, _: Any, handle: int, table: int, buffer: Any, room: int) -> int:
        data = self._fonts[handle - 1].data
        return _fill(buffer, room, find_table(data, table) if table else data)

    def get_face_name(self, _: Any, handle: int, buffer: Any, room: int) -> int:
        # PDFium keeps loaded fonts by this name, so each font needs another name
        font = self._fonts[handle - 1]
        return _fill(buffer, room, f"{font.family} {self._number}.{handle}\0".encode())


def offer(fonts: Sequence[Font]) -> None:
    """Let PDFium use these fonts instead of the machine's. Call this before the sandbox is sealed.

    May be repeated. Then only the new fonts are used.
    """
    kinds = dict(pdfium.FPDF_SYSFONTINFO._fields_)
    offered = _Offer(fonts, len(_kept))
    functions: dict[str, Callable[..., Any]] = {
        "Release": lambda _: None,
        "EnumFonts": lambda _, __: None,
        "MapFont": offered.map_font,
        "GetFont": lambda _, __: None,
        "GetFontData": offered.get_font_data,
        "GetFaceName": offered.get_face_name,
        "GetFontCharset": lambda _, __: 0,
        "DeleteFont": lambda _, __: None,
    }
    info = pdfium.FPDF_SYSFONTINFO()
    info.version = _VERSION
    for name, function in functions.items():
        setattr(info, name, kinds[name](function))
    _kept.append(info)
    pdfium.FPDF_SetSystemFontInfo(info)


def find_table(data: bytes, table: int) -> bytes:
    """Return a table of a font by the four bytes of its name; empty if the font lacks it.

    Source: OpenType 1.9, "Organization of an OpenType Font".
    """
    name = table.to_bytes(4, "big")
    for entry in range(12, 12 + 16 * int.from_bytes(data[4:6], "big"), 16):
        if data[entry : entry + 4] == name:
            start = int.from_bytes(data[entry + 8 : entry + 12], "big")
            return data[start : start + int.from_bytes(data[entry + 12 : entry + 16], "big")]
    return b""


def _fill(buffer: Any, room: int, content: bytes) -> int:
    """Copy `content` to PDFium's buffer if it fits; return its length, as PDFium requires."""
    if buffer and room >= len(content):
        ctypes.memmove(buffer, content, len(content))
    return len(content)
