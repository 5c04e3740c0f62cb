"""Which measured types get a thumbnail, and which box makes it."""

from collections.abc import Collection
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from shared.errors import SettingsError


class Box(StrEnum):
    """The kinds of box: each is a process of its own that holds only its own decoders."""

    IMAGES = "images"
    DOCUMENTS = "documents"


IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Images that are always decoded."""

MORE: Final = {
    "avif": frozenset({"image/avif"}),
    "tiff": frozenset({"image/tiff"}),
    "heic": frozenset({"image/heic", "image/heif"}),
}
"""Images that are decoded where `ATTACHMENTS_MORE_FORMATS` names them: their decoders are larger
and younger, or the world's files of that kind odder, so it is for the operator to weigh."""

PDF: Final = "application/pdf"

_NAMES: Final = {
    Box.IMAGES: (".jpg", ".jpeg", ".png", ".gif", ".webp"),
    Box.DOCUMENTS: (".pdf",),
}
_MORE_NAMES: Final = {
    "avif": (".avif",),
    "tiff": (".tif", ".tiff"),
    "heic": (".heic", ".heif"),
}


def check_decoders(more: Collection[str]) -> None:
    """Make sure that what decodes these formats is installed. Raises SettingsError."""
    if "heic" in more and find_spec("pillow_heif") is None:
        raise SettingsError(
            "ATTACHMENTS_MORE_FORMATS: heic needs one more decoder: make install EXTRAS=heic,"
            " or --build-arg HEIC=true for the image"
        )


def box_of(content_type: str, more: Collection[str]) -> Box | None:
    """Tell which box makes the thumbnail of a type; None if there is none to be made."""
    if content_type == PDF:
        return Box.DOCUMENTS
    if content_type in IMAGES or any(content_type in MORE[name] for name in more):
        return Box.IMAGES
    return None


def promises_thumbnail(file_name: str, more: Collection[str]) -> bool:
    """Whether a file is named like one that is decoded. A guess: what it is, its bytes say."""
    name = file_name.lower()
    return any(name.endswith(ends) for ends in _NAMES.values()) or any(
        name.endswith(_MORE_NAMES[kind]) for kind in more
    )
