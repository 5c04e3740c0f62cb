"""The description of one file in the hostile corpus: its row of limits.md, its bytes, its allowed
outcomes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

Outcome = tuple[str, str | None]
"""A final state of an attachment, and the code of its reason; None if it has no reason."""


def rejected(*codes: str) -> frozenset[Outcome]:
    """Return the allowed outcomes of a file that must be rejected for one of these reasons."""
    return frozenset(("rejected", code) for code in codes)


def ready(*codes: str | None) -> frozenset[Outcome]:
    """Return the allowed outcomes of a file that must become `ready`, for one of these reasons.

    With a reason other than `damaged`, the file has no thumbnail.
    """
    return frozenset(("ready", code) for code in codes)


READY: Final = ready(None)
DAMAGED: Final = ready("damaged")
EXPENSIVE: Final = ready("too_expensive")
ANY_OUTCOME: Final = ready(None, "unsupported", "damaged", "too_expensive")
"""The allowed outcomes of a randomly changed image. Faults of the service are not allowed."""
DOCUMENT: Final = ready(None, "damaged", "encrypted", "unsupported")
"""The allowed outcomes of a changed document: the service keeps it, with or without a thumbnail."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file of the corpus. Its bytes are made at the first use, and are always the same.

    `row` is the file's row in limits.md, or 0 if only contract.md has a rule for the file.
    `content_types` are the types that the worker may find; an empty set allows any type. If
    `thumbnail` is true, the outcome `ready` without a reason requires a thumbnail. If
    `never_inline` is true, the service must serve the file only as a download.
    """

    row: int
    title: str
    draw: Callable[[], bytes]
    file_name: str
    allowed: frozenset[Outcome] = READY
    content_types: frozenset[str] = frozenset()
    thumbnail: bool = True
    never_inline: bool = False

    @property
    def name(self) -> str:
        """Return the row and the title, as in a test's id."""
        return f"row{self.row}-{self.title}" if self.row else self.title

    @cached_property
    def content(self) -> bytes:
        """Return the bytes of the file."""
        return self.draw()


_TYPES: Final = {"jpg": "jpeg", "mpo": "jpeg"}


def image(
    row: int,
    title: str,
    extension: str,
    draw: Callable[[], bytes],
    allowed: frozenset[Outcome],
    *,
    never_inline: bool = False,
) -> Sample:
    """Describe an image whose type the worker must find from its bytes."""
    return Sample(
        row=row,
        title=title,
        draw=draw,
        file_name=f"img.{extension}",
        allowed=allowed,
        content_types=frozenset({f"image/{_TYPES.get(extension, extension)}"}),
        never_inline=never_inline,
    )
