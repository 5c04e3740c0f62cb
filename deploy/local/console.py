"""Write the lines of several processes to standard output, as text or as JSON objects."""

import os
import queue
import select
import sys
import threading
from contextlib import suppress
from typing import Any

from shared.log_lines import Level, as_object
from shared.log_lines import line as log_line
from shared.plain import escape

COLOURS = {"api": 36, "worker": 33, "postgres": 34, "valkey": 35, "seaweedfs": 32, "up": 1}
WIDTH = max(map(len, COLOURS))
MAX_WAITING = 10_000
FLUSH_S = 1.0


class Console:
    """Writes to standard output in its own thread, so that no process waits for the reader.

    If the reader does not read, up to 10,000 lines wait, and further ones are dropped. Lines that
    cannot be written, because the reader has ended or the disk is full, are dropped too.
    In text output, each line begins with the name of its process. In JSON output, the objects that
    a process writes are unchanged.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="console", daemon=True)
        self._thread.start()

    def write_line(self, name: str, line: bytes) -> None:
        """Write a line of the output of a process."""
        text = line.decode(errors="backslashreplace")
        if self._as_json:
            self._queue(as_object(text, logger="output", process=name))
        else:
            self._put(name, text.expandtabs())

    def print_lines(self, text: str, *, level: Level = "info") -> None:
        """Write lines of `attachments up` itself, as text or as JSON; only JSON has the level."""
        for line in text.splitlines():
            if self._as_json:
                self.tell_event(line, level=level)
            else:
                self._put("up", line)

    def warn(self, text: str) -> None:
        """Write lines about a fault, such as a process that ended, at level warning."""
        self.print_lines(text, level="warning")

    def tell_event(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """Write one JSON object of `attachments up` itself."""
        self._queue(log_line(event, level=level, logger="attachments", **fields))

    def _put(self, name: str, line: str) -> None:
        prefix = f"{name:<{WIDTH}} |"
        if self._coloured:
            prefix = f"\x1b[{COLOURS.get(name, 0)}m{prefix}\x1b[0m"
        # Clients of the API choose parts of this text, so it is escaped and cannot control the
        # terminal.
        self._queue(f"{prefix} {escape(line)}")

    def _queue(self, line: str) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait(f"{line}\n".encode())

    def close(self) -> None:
        """Write the waiting lines, for at most a second."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(FLUSH_S)

    def _write(self) -> None:
        # Do not use sys.stdout, which has a lock. If this thread held the lock when Python ends,
        # the interpreter would abort.
        torn = False
        while (line := self._waiting.get()) is not None:
            rest = b"\n" + line if torn else line
            try:
                while rest:
                    try:
                        rest = rest[os.write(1, rest) :]
                    except BlockingIOError:  # another process has made the shared pipe non-blocking
                        room = select.poll()
                        room.register(1, select.POLLOUT)
                        room.poll()
            except OSError:  # later lines may be written, for example once the disk has room
                torn = torn or len(rest) < len(line)
            else:
                torn = False
