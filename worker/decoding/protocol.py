"""The messages between a worker and its decoders: a header, JSON, and bytes.

The worker sends a job and the descriptor of a file; the decoder answers with JSON and the bytes of
the thumbnail. Both sides import this module, so it imports neither Pillow nor anything else that
belongs to one of them.
"""

import struct
from typing import Final

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

SEEN: Final = ("width", "height", "pages", "carries_more")
"""The facts that a decoder tells. The worker finds out all others itself."""
