"""Which types get a thumbnail, and which kind of sandbox makes it."""

from collections.abc import Collection
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from shared.errors import SettingsError


class Box(StrEnum):
    """The kinds of sandbox. A sandbox process contains only the decoders of its kind."""

    IMAGES = "images"
    DOCUMENTS = "documents"
    DRAWINGS = "drawings"
    FILMS = "films"


IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Images that are always decoded."""

SIMPLE: Final = frozenset({"image/bmp", "image/vnd.microsoft.icon", "image/x-win-bitmap"})
"""More images that are always decoded. Their readers are simple: they only copy pixels. If another
file is appended to such an image, the type of the whole may be that of the other file. Browsers
never show the originals inline."""

FILMS: Final = frozenset(
    {"video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp", "video/3gpp2"}
    | {"video/webm", "video/x-matroska", "video/x-msvideo", "video/mp2t"}
)
"""Films that get a poster if `ATTACHMENTS_MORE_FORMATS` names `video`."""

MORE: Final = {
    "avif": frozenset({"image/avif"}),
    "tiff": frozenset({"image/tiff"}),
    "heic": frozenset({"image/heic", "image/heif"}),
    "jxl": frozenset({"image/jxl"}),
    "video": FILMS,
}
"""Optional formats, decoded only if `ATTACHMENTS_MORE_FORMATS` names them. Their decoders are
larger or newer than the others, or many files of the format break its rules. So the operator
decides whether to take the risk."""

PDF: Final = "application/pdf"

SVG: Final = "image/svg+xml"
"""The type of drawings. They always get a thumbnail, because their reader is safe: it is written in
a memory-safe language, runs no scripts and opens no files. Browsers never show the originals
inline."""

FORMATS: Final = frozenset({*IMAGES, *SIMPLE, PDF, SVG}.union(*MORE.values()))
"""All types that are ever decoded."""

_NAMES: Final = {
    Box.IMAGES: (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".ico", ".cur"),
    Box.DOCUMENTS: (".pdf",),
    Box.DRAWINGS: (".svg",),
}
_MORE_NAMES: Final = {
    "avif": (".avif",),
    "tiff": (".tif", ".tiff"),
    "heic": (".heic", ".heif"),
    "jxl": (".jxl",),
    "video": (),  # a film is not read to its end
}

_PACKAGES: Final = {"heic": "pillow_heif", "jxl": "imagecodecs", "video": "av"}
"""The packages of the decoders that are extras, by the name of the extra."""


def check_decoders(more: Collection[str]) -> None:
    """Check that the decoders of these formats are installed. Raises SettingsError."""
    for name, package in _PACKAGES.items():
        if name in more and find_spec(package) is None:
            raise SettingsError(
                f"ATTACHMENTS_MORE_FORMATS: {name} needs one more decoder: make install"
                f" EXTRAS={name}, or --build-arg {name.upper()}=true for the image"
            )


def box_of(content_type: str, more: Collection[str]) -> Box | None:
    """Return the kind of sandbox that makes a type's thumbnails; None if it gets none."""
    if content_type == PDF:
        return Box.DOCUMENTS
    if content_type == SVG:
        return Box.DRAWINGS
    if content_type in FILMS:
        return Box.FILMS if "video" in more else None
    if content_type in IMAGES | SIMPLE or any(content_type in MORE[name] for name in more):
        return Box.IMAGES
    return None


def promises_thumbnail(file_name: str, more: Collection[str]) -> bool:
    """Return True if a file name has the extension of a decoded format.

    This is only a guess, because the bytes decide.
    """
    name = file_name.lower()
    return any(name.endswith(ends) for ends in _NAMES.values()) or any(
        name.endswith(_MORE_NAMES[kind]) for kind in more
    )
