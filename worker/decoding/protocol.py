"""The messages between a worker and its decoders: a header, JSON, and bytes.

The worker sends a job and the descriptor of a file. The decoder answers with JSON and the bytes of
the thumbnails, one after the other. If it needs another range of a film, it answers with that range
instead, and the job ends. Both sides import this module, so it must not import Pillow or any other
module that only one side uses.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("!II")
"""The header of a message: length of the JSON, length of the bytes after it."""

MAX_MEMORY_BYTES = 1024**3
"""Maximum size of a decoder's address space, in bytes."""

MAX_ANSWER_BYTES = 4096
"""Maximum length of the JSON in an answer, in bytes."""


def max_bytes(edges: Iterable[int]) -> int:
    """Return the maximum length of thumbnails with these edges, in bytes.

    That is twice the length of uncompressed squares with four bytes per pixel.
    """
    return sum(4 * edge * edge * 2 for edge in edges)


REQUEST: Final = struct.Struct("!BI")
"""A request to the zygote: command, process id."""

ANSWER: Final = struct.Struct("!Iiq")
"""The zygote's answer: process id, wait status, ru_maxrss."""

FORK: Final = 1
END: Final = 2


@dataclass(frozen=True, slots=True)
class Film:
    """The ranges of a film that a decoder gets. `size` is that of the whole film, in bytes.

    `extents` are the ranges (start, end). The decoder's file holds their bytes, one range after the
    other. If they are `final`, the decoder may not ask for another range.
    """

    size: int
    extents: tuple[tuple[int, int], ...]
    final: bool


SEEN: Final = ("width", "height", "pages", "duration", "thumbhash", "carries_more")
"""The fields of `Facts` that a decoder reports. The worker measures all others itself."""
