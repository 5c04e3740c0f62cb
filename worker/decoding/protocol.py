"""The messages between a worker and its decoders: a header, JSON, and bytes.

The worker sends a job and the descriptor of a file; the decoder answers with JSON and the bytes of
the thumbnail. Both sides import this module, so it imports neither Pillow nor anything else that
belongs to one of them.
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal

HEADER: Final = struct.Struct("!II")
"""Lengths of the JSON and of the bytes that follow it."""

MAX_MEMORY_BYTES = 1024**3
"""Address space of a decoder."""

MAX_ANSWER_BYTES = 4096
"""Size of the JSON of an answer."""

MAX_THUMBNAIL_BYTES = 4 * 320 * 320 * 2
"""Size of an encoded thumbnail: twice the bytes of its pixels, at most 320 × 320 of four bytes."""

REQUEST: Final = struct.Struct("!BI")
"""A request to the zygote: command, process id."""

ANSWER: Final = struct.Struct("!Iiq")
"""The answer of the zygote: process id, wait status, ru_maxrss."""

FORK: Final = 1
END: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An answer that the worker has checked: an encoded thumbnail and facts about its original.

    `width` and `height` are the original's, in upright pixels; None for a document, which has
    `pages`. `extension` is None if the thumbnail has the format of the original. `carries_more` is
    true if bytes of another kind follow the image. `reason` is `damaged` if a part of the image is
    missing.
    """

    body: bytes
    content_type: str
    extension: str | None
    width: int | None
    height: int | None
    pages: int | None = None
    carries_more: bool
    reason: Literal["damaged"] | None = None
