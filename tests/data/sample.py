"""A file of the hostile corpus: its row of limits.md, its bytes, its allowed outcomes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

Outcome = tuple[str, str | None]
"""A final state, and the code of its reason."""


def rejected(*codes: str) -> frozenset[Outcome]:
    """Allow rejection for one of these reasons: it may not be kept."""
    return frozenset(("rejected", code) for code in codes)


def ready(*codes: str | None) -> frozenset[Outcome]:
    """Allow `ready`, with one of these reasons; without a thumbnail, unless it is `damaged`."""
    return frozenset(("ready", code) for code in codes)


READY: Final = ready(None)
DAMAGED: Final = ready("damaged")
EXPENSIVE: Final = ready("too_expensive")
ANY_OUTCOME: Final = ready(None, "unsupported", "damaged", "too_expensive")
"""All that may come of an image that was changed blindly: anything but our own faults."""
DOCUMENT: Final = ready(None, "damaged", "encrypted", "unsupported")
"""All that may come of a changed document: it is kept as it is, with or without a thumbnail."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file, drawn when its `content` is first asked for; the same bytes every time.

    `row` is that of limits.md, 0 for what contract.md alone speaks of. `content_types` are those
    that may be measured; none named means any. `thumbnail` is whether there must be one where it
    is `ready` for no reason. What is `never_inline` is only ever served as an attachment.
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
        """Row and title, as in a test's id."""
        return f"row{self.row}-{self.title}" if self.row else self.title

    @cached_property
    def content(self) -> bytes:
        """The bytes."""
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
    """Describe an image that is identified by its bytes; any outcome is allowed."""
    return Sample(
        row=row,
        title=title,
        draw=draw,
        file_name=f"img.{extension}",
        allowed=allowed,
        content_types=frozenset({f"image/{_TYPES.get(extension, extension)}"}),
        never_inline=never_inline,
    )
