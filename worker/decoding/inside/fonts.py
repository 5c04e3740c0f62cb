"""The fonts for texts in files that contain no fonts. They are read before the sandbox is sealed.

A sealed decoder cannot open files, so it keeps the bytes of a few free fonts in memory. The fonts
are found by their file names. On a machine without these fonts, such texts are drawn with fewer
letters, or not at all. `svg` and `pdf_fonts` use the fonts.
"""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

FOLDERS: Final = (
    "/usr/share/fonts",
    "/usr/share/fonts-droid-fallback",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
"""The folders of Linux and macOS that are searched, with all folders below them."""

MAX_FOLDERS: Final = 2_000
"""Maximum number of folders that are searched, so that the start is fast even on a large tree."""

MAX_FONT_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of a font file. The largest one in `_FILES` has 4 MB."""

SANS: Final = "Arial"
SERIF: Final = "Times New Roman"
MONO: Final = "Courier New"
"""The font families that files name most often. Renderers use them for `sans-serif`, `serif` and
`monospace` too."""

WIDE: Final = "DejaVu Sans"
"""A family with letters of many scripts, but without Chinese, Japanese and Korean."""

HAN: Final = "Droid Sans Fallback"
"""A family with the letters of Chinese and Japanese."""

KOREAN: Final = "Droid Sans Korean"
"""A family with the letters of Korean. Only this service uses this name. In the font file, the
family has the same name as `HAN`, which has more Chinese letters but almost no Korean ones."""

_ALSO: Final = {
    SANS: ("Helvetica", "Helvetica Neue"),
    SERIF: ("Times",),
    MONO: ("Courier",),
}
"""Other names that drawings often use for a family."""

_WINDOWS: Final = 3
_UNICODE: Final = 1
_ENGLISH: Final = (0x0409, 0x0809, 0x0C09)
_FAMILY: Final = 1
_POSTSCRIPT: Final = 6
"""Numbers that the table `name` of OpenType uses: one platform, one encoding, some languages, and
two kinds of names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file in memory. It is used for texts whose font family is `family`.

    `has_family_widths` is True if its letters are as wide as those of the family that it replaces.
    """

    family: str
    is_bold: bool = False
    is_italic: bool = False
    has_family_widths: bool = False
    data: bytes = b""


def _styles(prefix: str, family: str, names: Iterable[str]) -> dict[str, Font]:
    return {
        f"{prefix}{name}.ttf": Font(
            family=family,
            is_bold="Bold" in name,
            is_italic="Italic" in name,
            has_family_widths=not prefix.startswith("DejaVu"),
        )
        for name in names
    }


_FOUR: Final = ("-Regular", "-Bold", "-Italic", "-BoldItalic")
_TWO: Final = ("", "-Bold")
_MACOS: Final = ("", " Bold", " Italic", " Bold Italic")

_FILES: Final = {
    **_styles("LiberationSans", SANS, _FOUR),
    **_styles("LiberationSerif", SERIF, _FOUR),
    **_styles("LiberationMono", MONO, _FOUR),
    **_styles("Arial", SANS, _MACOS),
    **_styles("Times New Roman", SERIF, _MACOS),
    **_styles("Courier New", MONO, _MACOS),
    "DejaVuSans.ttf": Font(family=WIDE),
    "DroidSansFallbackFull.ttf": Font(family=HAN),
    "DroidSansFallback.ttf": Font(family=KOREAN),
    **_styles("DejaVuSans", SANS, _TWO[1:]),
    **_styles("DejaVuSerif", SERIF, _TWO),
    **_styles("DejaVuSansMono", MONO, _TWO),
}
"""The font files that are used, by their names. If a machine has several files for one family and
style, the first one is used. The letters of Liberation are as wide as those of Arial, Times New
Roman and Courier New."""


@cache
def installed(folders: tuple[str, ...] = FOLDERS) -> tuple[Font, ...]:
    """Read the fonts of `_FILES` that this machine has; empty if it has none. Never raises."""
    paths = _find(folders)
    fonts: dict[tuple[str, bool, bool], Font] = {}
    for name, font in _FILES.items():
        key = (font.family, font.is_bold, font.is_italic)
        if name in paths and key not in fonts and (data := _read(paths[name])):
            fonts[key] = replace(font, data=data)
    wide = fonts.get((WIDE, False, False))
    if wide is not None:  # use it for SANS if there is no better font
        fonts.setdefault((SANS, False, False), replace(wide, family=SANS))
    return tuple(fonts.values())


def _find(folders: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    searched = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            searched += 1
            if searched > MAX_FOLDERS:
                return found
            for name in _FILES.keys() & set(names):
                found.setdefault(name, Path(parent, name))
    return found


def _read(path: Path) -> bytes:
    """Return the bytes of a font file; empty if it is unreadable, too large or no TrueType."""
    try:
        if path.stat().st_size > MAX_FONT_BYTES:
            return b""
        data = path.read_bytes()
    except OSError:
        return b""
    return data if data.startswith((b"\0\1\0\0", b"true")) else b""


def renamed(font: Font) -> bytes:
    """Return a copy of the font's bytes that has the names of the family for which it is used.

    Appends a table `name` (OpenType 1.9, "name"), and changes the offset of this table in the
    font's directory. If the family has several names, each name is stored as the name in a
    different language.
    """
    (count,) = struct.unpack_from(">H", font.data, 4)
    style = ("Bold" if font.is_bold else "") + ("Italic" if font.is_italic else "") or "Regular"
    families = zip(_ENGLISH, (font.family, *_ALSO.get(font.family, ())), strict=False)
    names = [(language, _FAMILY, name) for language, name in families]
    names.append((_ENGLISH[0], _POSTSCRIPT, f"{font.family}-{style}".replace(" ", "")))
    records, texts = b"", b""
    for language, number, name in names:
        text = name.encode("utf-16-be")
        records += struct.pack(">6H", _WINDOWS, _UNICODE, language, number, len(text), len(texts))
        texts += text
    table = struct.pack(">3H", 0, len(names), 6 + len(records)) + records + texts
    start = -(-len(font.data) // 4) * 4
    for entry in range(12, 12 + 16 * count, 16):
        if font.data[entry : entry + 4] == b"name":
            place = struct.pack(">4sIII", b"name", 0, start, len(table))
            body = font.data[:entry] + place + font.data[entry + 16 :]
            return body.ljust(start, b"\0") + table
    return font.data
