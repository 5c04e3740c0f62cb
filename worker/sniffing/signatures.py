"""Signatures of the images that are always decoded: the usual upload is named without libmagic."""

import re
from typing import Final

_SIGNATURES: Final = re.compile(
    rb"(?P<jpeg>\xff\xd8\xff)"
    rb"|(?P<png>\x89PNG\r\n\x1a\n\0\0\0\rIHDR)"
    rb"|(?P<gif>GIF8[79]a)"
    rb"|(?P<webp>RIFF.{4}WEBPVP8[ LX])",
    re.DOTALL,
)


def image_type(head: bytes) -> str | None:
    """Name a JPEG, PNG, GIF or WebP by its first 16 bytes; None for every other file.

    libmagic gives the same names by the same bytes. What follows them makes no difference: the
    decoder reads it.
    """
    found = _SIGNATURES.match(head)
    return f"image/{found.lastgroup}" if found else None
