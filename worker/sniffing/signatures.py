"""Identify the images that are always decoded, so that most uploads do not need libmagic."""

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
    """Return the type of a JPEG, PNG, GIF or WebP by its first 16 bytes; None for other files.

    libmagic returns the same types for these bytes. Later bytes do not matter here, because the
    decoder reads them.
    """
    found = _SIGNATURES.match(head)
    return f"image/{found.lastgroup}" if found else None
