"""Replace standard error and output, so that all texts of Python code pass through LineWriters."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from shared.log_writer import LineWriter, writer_of

Shape = Callable[[str], str]
"""A function that returns the log line for a line of text."""


class LineStream:
    """Replaces `sys.stdout` or `sys.stderr` for other code: interpreter, warnings, libraries.

    It has no `fileno`, because Celery would use that to write to the file directly, without the
    writer.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, writer: LineWriter, descriptor: int, shape: Shape = str) -> None:
        """`shape` returns the log line for each complete line of text."""
        self._writer = writer
        self._descriptor = descriptor
        self._shape = shape
        self._begun = ""

    def write(self, text: str) -> int:
        """Add text. Each line is written when it is complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._writer.write_text(self._shape(line))
        return len(text)

    def flush(self) -> None:
        """Write the text that has no line end yet, unless there is a `shape`. Does not wait."""
        if self._shape is str:
            begun, self._begun = self._begun, ""
            if begun:
                self._writer.write_line(begun.encode(errors="backslashreplace"))

    def writable(self) -> bool:
        """Return True, because text can be written."""
        return True

    def isatty(self) -> bool:
        """Return whether the log goes to a terminal."""
        with suppress(OSError):
            return os.isatty(self._descriptor)
        return False


def take_over_streams(shape: Shape = str) -> None:
    """Send all that Python code writes to standard error and output through the LineWriters.

    `shape` returns the log line for each line of text. Child processes do not inherit this.
    """
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = LineStream(writer_of(descriptor), descriptor, shape)
        for each in (name, f"__{name}__"):
            setattr(sys, each, stream)
