"""What is measured of a file: one record from the decoder's answer to the row."""

from dataclasses import dataclass, fields
from typing import Final, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was measured of one object, whatever comes of it; None is not known.

    `size` in bytes; `width` and `height` in upright pixels, None for a document, which has `pages`.
    `checksum_sha256` is hexadecimal. A file `carries_more` where bytes of another kind follow the
    image, or that could not be found out.
    """

    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    checksum_sha256: str | None = None
    carries_more: bool = False

    def joined(self, found: Self) -> Self:
        """Give these facts and those that a later step found; what both know is as found later."""
        known = {name: getattr(found, name) for name in MEASURED}
        return type(self)(
            **{
                name: getattr(self, name) if value is None else value
                for name, value in known.items()
            },
            carries_more=self.carries_more or found.carries_more,
        )


FACTS: Final = tuple(each.name for each in fields(Facts))
"""The columns of the facts, in the order of the record."""

MEASURED: Final = tuple(name for name in FACTS if name != "carries_more")
"""Those that may be null. `carries_more` has an effect on `ready` attachments only."""

DECLARED: Final = ("content_type", "size")
"""Those that a client may declare of an object that has not come."""

NO_FACTS: Final = Facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An encoded thumbnail, its content type, and the facts about its original that decoding told.

    `extension` is None if the thumbnail has the format of the original, whose name can stay then.
    `reason` is `damaged` if not all of the original could be shown, or its end or a checksum of its
    pixels is missing.
    """

    body: bytes
    content_type: str
    extension: str | None
    facts: Facts
    reason: Literal["damaged"] | None = None
