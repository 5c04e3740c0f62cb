"""What a worker and the box in which files are identified say to each other.

The fork server gets commands: a letter and a process id. `FORK` comes with a socket: fork a child
that serves it; the answer is the child's id. `END` ends that child; the answer is its exit status.
To a child goes a HEADER, a job as JSON and the pieces. The job has a random name (`job`), the
file's `size`, the `lengths` of the pieces, and the CPU time that it may take (`cpu_s`). Back comes
a HEADER and JSON: the name of the job, and the type's `name`, the `range` to be seen next, or a
`fault`.
"""

import struct
from typing import Final

from worker.sniffing.ranges import LARGE_RANGE_BYTES, RANGE_BYTES, RANGES

COMMAND: Final = struct.Struct("!ci")
FORK: Final = b"S"
END: Final = b"E"
ANSWER: Final = struct.Struct("!i")

HEADER: Final = struct.Struct("!II")
"""Lengths of the JSON and of the bytes after it."""

MAX_ANSWER_BYTES: Final = 1024

MAX_PIECES: Final = 1 + RANGES + 1
"""The head, and the ranges that `sniff.identify` may ask for."""

MAX_ASKED_BYTES: Final = LARGE_RANGE_BYTES + RANGES * (RANGE_BYTES + 22)
"""How many bytes these ranges have together, at most."""
