"""The measured facts of a file: one record for the decoder's answer and for the row's update.

`shared.attachments.Attachment` has fields with the same names. It does not contain a `Facts`,
because that would be a second object for each row of a list. A test compares the names.
"""

import re
from dataclasses import dataclass, fields
from typing import Final, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The measured facts of one object; None means unknown.

    `size` is in bytes. `width` and `height` are in pixels, after the orientation is applied. They
    are None for a document, which has `pages`. `duration` is the length of a film in seconds,
    rounded to a thousandth. `checksum_sha256` is hexadecimal. `thumbhash` is a placeholder of the
    thumbnail in Base64. `carries_more` is true if bytes of another kind follow the image, or if
    that could not be checked.
    """

    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    checksum_sha256: str | None = None
    duration: float | None = None
    thumbhash: str | None = None
    carries_more: bool = False

    def joined(self, found: Self) -> Self:
        """Return the facts of both records. If both know a fact, the one of `found` is returned.

        `carries_more` is true if it is true in one of the two records.
        """
        known = {name: getattr(found, name) for name in MEASURED}
        return type(self)(
            **{
                name: getattr(self, name) if value is None else value
                for name, value in known.items()
            },
            carries_more=self.carries_more or found.carries_more,
        )


FACTS: Final = tuple(each.name for each in fields(Facts))
"""The names of the facts, in the order of the record; they are columns of `attachments`."""

MEASURED: Final = tuple(name for name in FACTS if name != "carries_more")
"""The facts that may be None. `carries_more` is never None, and affects only `ready`
attachments."""

DECLARED: Final = ("content_type", "size")
"""The facts that a client may declare before the object is uploaded."""

PIXELS: Final = ("width", "height")
"""The width and height of an image. Both are known, or both are None."""

ADDED: Final = tuple(name for name in MEASURED if name not in DECLARED)
"""The facts that only the service knows. The API shows them in `meta`."""

NO_FACTS: Final = Facts()

THUMB_EDGE: Final = 320
"""The longer edge of the style `thumb`, in pixels (contract.md). A smaller image is not
enlarged."""

_THUMBHASH: Final = re.compile(r"[A-Za-z0-9+/]{6,48}={0,2}")


def is_thumbhash(value: object) -> bool:
    """Return True if a value may be the fact `thumbhash`: None, or a short text in Base64."""
    return value is None or (isinstance(value, str) and _THUMBHASH.fullmatch(value) is not None)


MAX_DURATION_S: Final = 1e7
"""Maximum duration of a film, in seconds: 115 days. A longer one is a fault of the file."""


def is_duration(value: object) -> bool:
    """Return True if a value may be the fact `duration`: None, or up to MAX_DURATION_S."""
    return value is None or (isinstance(value, float) and 0 < value <= MAX_DURATION_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A thumbnail in one style: its bytes, its content type, and its size in pixels.

    `extension` is None if the thumbnail has the original's format, and so the original's file name.
    """

    body: bytes
    content_type: str
    extension: str | None
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """The thumbnail of an original in one or more styles, and the facts measured in the original.

    `pictures` has one picture for each requested style, in the same order; `thumb` is the first.
    `reason` is `damaged` if a part of the original could not be shown, if the end of the original
    is missing, or if a checksum of its pixels is missing.
    """

    pictures: tuple[Picture, ...]
    facts: Facts
    reason: Literal["damaged"] | None = None

    @property
    def body(self) -> bytes:
        """The bytes of `thumb`."""
        return self.pictures[0].body

    @property
    def content_type(self) -> str:
        """The content type of `thumb`."""
        return self.pictures[0].content_type

    @property
    def extension(self) -> str | None:
        """The extension of `thumb`, or None if it is the original's."""
        return self.pictures[0].extension
