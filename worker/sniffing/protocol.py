"""The messages between a worker and the sandbox that identifies files.

The worker sends commands to the fork server: a letter and a process id. `FORK` also carries a
socket: the server forks a child that serves it, and answers with the child's process id. `END` ends
that child; the answer is its exit status.

The worker sends jobs to a child: a HEADER, JSON, and pieces of the file. The JSON has a random name
(`job`), the file's `size`, the `lengths` of the pieces, and the limit of CPU time in seconds
(`cpu_s`). The child answers with a HEADER and JSON: the name of the job, and either the type's
`name`, the `range` of bytes that it needs next, or a `fault`.
"""

import struct
from typing import Final

from worker.sniffing.ranges import LARGE_RANGE_BYTES, RANGE_BYTES, RANGES

COMMAND: Final = struct.Struct("!ci")
FORK: Final = b"S"
END: Final = b"E"
ANSWER: Final = struct.Struct("!i")

HEADER: Final = struct.Struct("!II")
"""The header of a message: length of the JSON, length of the bytes after it."""

MAX_ANSWER_BYTES: Final = 1024

MAX_PIECES: Final = 1 + RANGES + 1
"""Maximum number of pieces: the head of a file, and the ranges that `identify.identify` may
request."""

MAX_ASKED_BYTES: Final = LARGE_RANGE_BYTES + RANGES * (RANGE_BYTES + 22)
"""Maximum size of all ranges of one file together, in bytes, without the head."""
