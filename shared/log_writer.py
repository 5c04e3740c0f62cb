"""Write log lines from a separate thread, so that a slow reader of the log blocks nothing.

A pipe whose reader has stopped is full after 64 KiB, and then each write to it blocks. So lines
wait in memory, up to a limit. Lines above the limit are dropped and counted. If the pipe is closed
or the disk is full, the lines are lost, without an error.
"""

import atexit
import fcntl
import logging
import os
import select
import stat
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from prometheus_client import Counter

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""At most this many bytes of lines wait for a slow reader. That is more than a burst of tracebacks
needs, and is little for a worker's memory."""

FLUSH_S: Final = 1.0
"""Seconds that an ending process waits for the reader of its log."""

GATHER_S: Final = 0.25
"""Seconds in which the thread collects further lines before it writes. If each line woke the
thread, that would cost a request more CPU time than the formatting of the line."""

BATCH_BYTES: Final = select.PIPE_BUF
"""Maximum number of bytes that one write of several lines may have if the pipe is not empty. The
kernel does not mix a write of this size with the writes of other processes (POSIX, `write`)."""

DROPPED = Counter(
    "attachments_log_lines_dropped_total",
    "Log lines that were dropped: the reader was too slow, or a write failed",
)


LATER_BYTES: Final = 512
"""The assumed size, in bytes, of a line that the thread has not built yet."""

Note = Callable[[int], bytes]
Later = tuple[Callable[..., bytes | None], tuple[Any, ...]]
"""A function that builds a line with its line end, and the arguments of the function."""


def _plain_note(count: int) -> bytes:
    return f"{count} lines were dropped\n".encode()


class LineWriter:
    """Queues lines, and a thread writes them in order. Callers never wait, and no call fails.

    Only `flush` waits, up to its time limit.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._note: Note = _plain_note
        # `_add` takes this lock directly, because a Condition would take it by a slower call of a
        # Python function. One thread may take the lock twice, because a destructor or a signal
        # handler may log while `_add` runs.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lines: list[bytes | Later] = []
        self._bytes = 0  # the bytes of all lines that are not written yet
        self._writing = False
        self._dropped = 0
        self._torn = False
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        thread.start()
        atexit.register(self.flush)

    def note_with(self, note: Note) -> None:
        """Set the function that makes the log line about dropped lines from their number."""
        self._note = note

    def write_line(self, line: bytes) -> None:
        """Queue a line with its line end. If there is no room, drop and count it."""
        self._add(line, len(line))

    def queue(self, build: Callable[..., bytes | None], args: tuple[Any, ...]) -> None:
        """Queue a line that the thread builds later with `build(*args)`.

        If `build` returns None, no line is written.
        """
        self._add((build, args), LATER_BYTES)

    def _add(self, line: bytes | Later, size: int) -> None:
        with self._lock:
            if self._bytes + size > MAX_WAITING_BYTES:
                self._drop()
                return
            if not self._lines:
                self._changed.notify_all()
            self._lines.append(line)
            self._bytes += size

    def write_text(self, line: str) -> None:
        """Queue a line of text that has no line end yet."""
        self.write_line(f"{line}\n".encode(errors="backslashreplace"))

    def hurry(self) -> None:
        """Let the thread write now, without collecting further lines. Does not wait."""
        with self._changed:
            self._changed.notify_all()

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Wait until all lines are written, but at most `timeout_s` seconds."""
        over = time.monotonic() + timeout_s
        with self._changed:
            self._changed.notify_all()  # so that the thread writes without collecting further lines
            while self._lines or self._writing:
                left = over - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _drop(self, lines: int = 1) -> None:
        self._dropped += lines
        DROPPED.inc(lines)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                if not self._lines:
                    while not self._lines:
                        self._changed.wait()
                    self._changed.wait(GATHER_S)
                lines, self._lines = self._lines, []
                self._writing = True
            text = self._text_of(lines)
            for piece in _pieces(text, self._room()):
                if (dropped := self._dropped) and not self._put(self._note(dropped)):
                    with self._lock:
                        self._dropped -= dropped
                left = self._put(piece)
                with self._lock:
                    self._bytes -= len(piece)
                    if left:  # a line that was written only in part counts as dropped
                        # `left` is longer than the piece if even the "\n" before it was not written
                        self._drop(piece.count(b"\n", max(0, len(piece) - left)))

    def _room(self) -> int:
        """Return how many bytes of lines may be written together now.

        Few large writes are best, because each write interrupts the event loop. A file may get any
        number of bytes. A write to a pipe must not be mixed with the writes of other processes. On
        Linux, that happens only while a write waits for room (`pipe_write` in fs/pipe.c), so an
        empty pipe may get half of its size.
        """
        with suppress(OSError):
            mode = os.fstat(self._descriptor).st_mode
            if stat.S_ISREG(mode):
                return MAX_WAITING_BYTES
            if stat.S_ISFIFO(mode) and sys.platform == "linux":
                waiting = fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0\0\0\0")
                if not any(waiting):
                    half = fcntl.fcntl(self._descriptor, fcntl.F_GETPIPE_SZ) // 2
                    return max(BATCH_BYTES, half)
        return BATCH_BYTES

    def _text_of(self, lines: list[bytes | Later]) -> bytes:
        """Build the lines that are not built yet. Then correct the number of waiting bytes."""
        counted = 0
        built: list[bytes] = []
        for line in lines:
            if isinstance(line, bytes):
                counted += len(line)
                built.append(line)
                continue
            counted += LATER_BYTES
            build, args = line
            try:
                built.append(build(*args) or b"")
            except Exception:  # one bad line must not end the thread
                with self._lock:
                    self._drop()
        text = b"".join(built)
        with self._lock:
            self._bytes += len(text) - counted
        return text

    def _put(self, lines: bytes) -> int:
        """Write complete lines. Return the number of bytes that could not be written."""
        rest = b"\n" + lines if self._torn else lines
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # another process has made the shared pipe non-blocking
                    self._await_room()
        except OSError:  # the reader is gone, or the disk is full
            self._torn = self._torn or len(rest) < len(lines)
            return len(rest)
        self._torn = False
        return 0

    def _await_room(self) -> None:
        """Wait until the pipe has room, as a write to a blocking pipe does."""
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        room.poll()


def _pieces(text: bytes, first: int) -> Iterator[bytes]:
    """Split a text after line ends into pieces of at most BATCH_BYTES, or of one longer line.

    The first piece may have up to `first` bytes.
    """
    start, most = 0, first
    while start < len(text):
        end = start + most
        if end < len(text):
            end = text.rfind(b"\n", start, end) + 1 or text.find(b"\n", end) + 1 or len(text)
        yield text[start:end]
        start, most = end, BATCH_BYTES


class LineHandler(logging.Handler):
    """Formats the records of `logging`, and passes the lines to a LineWriter."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record, and queue its line."""
        try:
            line = self.format(record)
        except Exception:  # as in logging's own handlers: a bad record must not stop the caller
            self.handleError(record)
            return
        self._writer.write_text(line)
        if record.levelno >= logging.WARNING:
            self._writer.hurry()


_writers: dict[int, LineWriter] = {}


def writer_of(descriptor: int) -> LineWriter:
    """Return the LineWriter of a file descriptor. A process has one for each descriptor."""
    if descriptor not in _writers:
        _writers[descriptor] = LineWriter(descriptor)
    return _writers[descriptor]


def flush_all() -> None:
    """Write all queued lines. Call it before a process ends without exit handlers.

    Waits up to FLUSH_S for each writer.
    """
    for writer in list(_writers.values()):
        writer.flush()
