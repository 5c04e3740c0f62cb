"""Writes log lines from a thread of its own, so that no reader of the log holds the service up.

A pipe whose reader has stopped is full after 64 KiB, and whoever writes to it waits. Here lines
wait in memory instead, a bounded number, and what does not fit is dropped and counted. A pipe that
is closed and a disk that is full cost lines too, and nothing else.
"""

import atexit
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Lines that wait for a slow reader. More than a burst of tracebacks, little beside a worker."""

FLUSH_S: Final = 1.0
"""How long the end of the process waits for the reader."""

DROPPED = Counter(
    "attachments_log_lines_dropped_total",
    "Lines of the log that nobody read in time, or that could not be written",
)


Note = Callable[[int], bytes]


def _plain_note(count: int) -> bytes:
    return f"{count} lines were dropped\n".encode()


class LineWriter:
    """Takes lines and writes them to a file descriptor, in order; nothing here waits or raises."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._note: Note = _plain_note
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._writing = False
        self._dropped = 0
        self._torn = False
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        thread.start()
        atexit.register(self.flush)

    def note_with(self, note: Note) -> None:
        """Say how the line is made that tells how many were dropped."""
        self._note = note

    def write(self, line: bytes) -> None:
        """Have a line written, if there is room for it."""
        with self._changed:
            if self._bytes + len(line) > MAX_WAITING_BYTES:
                self._drop()
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Wait until all is written, but no longer than the time limit."""
        over = time.monotonic() + timeout_s
        with self._changed:
            while self._lines or self._writing:
                left = over - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _drop(self) -> None:
        self._dropped += 1
        DROPPED.inc()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
                self._bytes -= len(line)
                self._writing = True
                dropped = self._dropped
            if dropped and self._put(self._note(dropped)):
                with self._changed:
                    self._dropped -= dropped
            if not self._put(line):
                with self._changed:
                    self._drop()

    def _put(self, line: bytes) -> bool:
        """Write a line as a whole; returns whether that could be done."""
        rest = b"\n" + line if self._torn else line
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # someone who shares the pipe has made it so
                    self._await_room()
        except OSError:  # the reader has gone, or the disk is full
            self._torn = self._torn or len(rest) < len(line)
            return False
        self._torn = False
        return True

    def _await_room(self) -> None:
        """Wait for the reader, as a write to a usual pipe would; lines wait meanwhile."""
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        room.poll()


class LineStream:
    """Standard error for all others who write to it: interpreter, warnings, libraries.

    It has no `fileno`, so that nobody writes past the writer: Celery does so where it can.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, writer: LineWriter, descriptor: int) -> None:
        self._writer = writer
        self._descriptor = descriptor
        self._begun = ""

    def write(self, text: str) -> int:
        """Take text; whole lines are written."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._writer.write(f"{line}\n".encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Write what has no end of line yet; waits for nobody."""
        begun, self._begun = self._begun, ""
        if begun:
            self._writer.write(begun.encode(errors="backslashreplace"))

    def writable(self) -> bool:
        """Text can be written."""
        return True

    def isatty(self) -> bool:
        """Whether the log goes to a terminal."""
        with suppress(OSError):
            return os.isatty(self._descriptor)
        return False


class LineHandler(logging.Handler):
    """Gives formatted records to a writer."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and have it written."""
        try:
            line = f"{self.format(record)}\n"
        except Exception:  # as logging's own handlers: a line must not end what it tells of
            self.handleError(record)
            return
        self._writer.write(line.encode(errors="backslashreplace"))


_writers: dict[int, LineWriter] = {}


def writer_of(descriptor: int) -> LineWriter:
    """Give the writer of a descriptor, one a process."""
    if descriptor not in _writers:
        _writers[descriptor] = LineWriter(descriptor)
    return _writers[descriptor]


def take_over_streams() -> None:
    """Have all that this process writes to standard error and output go through the writers.

    Child processes get neither.
    """
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = LineStream(writer_of(descriptor), descriptor)
        for each in (name, f"__{name}__"):
            setattr(sys, each, stream)


def flush_all() -> None:
    """Write what waits, before an end that skips the usual one; bounded by FLUSH_S."""
    for writer in list(_writers.values()):
        writer.flush()
