"""The messages between a worker and the sandbox that identifies files.

The worker sends commands to the fork server: a letter and a process id. `FORK` also carries a
socket: the server forks a child that serves it, and answers with the child's process id. `END` ends
that child; the answer is its exit status.

The worker sends jobs to a child: a HEADER, JSON, and pieces of the file. The JSON has a random name
(`job`), the file's `size`, the `lengths` of the pieces, and the limit of CPU time in seconds
(`cpu_s`). The child answers with a HEADER and JSON: the name of the job, and either the type's
`name`, the `range` of bytes that it needs next, or a `fault`. With the name of a document it also
sends the document's `preview`, if there is one: the `extents` of its bytes, and their `packing`.
"""

import struct
from dataclasses import dataclass
from typing import Final

from worker.packing import Packing
from worker.sniffing.ranges import LARGE_RANGE_BYTES, PREVIEW_RANGES, RANGE_BYTES, RANGES

COMMAND: Final = struct.Struct("!ci")
FORK: Final = b"S"
END: Final = b"E"
ANSWER: Final = struct.Struct("!i")

HEADER: Final = struct.Struct("!II")
"""The header of a message: length of the JSON, length of the bytes after it."""

MAX_ANSWER_BYTES: Final = 1024

MAX_PIECES: Final = 1 + RANGES + 1 + PREVIEW_RANGES
"""Maximum number of pieces: the head of a file, and the ranges that `identify.identify_document`
may request."""

MAX_ASKED_BYTES: Final = (
    LARGE_RANGE_BYTES + RANGES * (RANGE_BYTES + 22) + PREVIEW_RANGES * RANGE_BYTES
)
"""Maximum size of all ranges of one file together, in bytes, without the head."""

MAX_EXTENTS: Final = 16
"""Maximum number of ranges in which the preview of a document may be stored."""

MAX_PREVIEW_BYTES: Final = 4 * 1024 * 1024
"""Maximum size of a preview as it is stored in the document, in bytes: as much as a worker keeps in
memory of an image."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Where the preview of a document is in its file: ranges (start, end), and their packing."""

    extents: tuple[tuple[int, int], ...]
    packing: Packing


@dataclass(frozen=True, slots=True)
class Identified:
    """The content type of a file, and the preview if the file is a document with a preview."""

    name: str
    preview: Preview | None = None
