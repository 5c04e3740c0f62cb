"""One stream of lines from many processes, each with its process's name in front."""

import os
import queue
import sys
import threading
from contextlib import suppress

from shared.plain import escape

COLOURS = {"api": 36, "worker": 33, "postgres": 34, "valkey": 35, "seaweedfs": 32, "up": 1}
WIDTH = max(map(len, COLOURS))
MAX_WAITING = 10_000
FLUSH_S = 1.0


class Console:
    """Writes to standard output from a thread of its own, so that nothing ever waits for a reader.

    Of a reader who has gone, or does not read, the lines beyond 10,000 are dropped.
    """

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="console", daemon=True)
        self._thread.start()

    def say(self, name: str, line: bytes) -> None:
        """Write a line of a process."""
        self._put(name, line.decode(errors="backslashreplace").expandtabs())

    def tell(self, text: str) -> None:
        """Write lines of our own."""
        for line in text.splitlines():
            self._put("up", line)

    def _put(self, name: str, line: str) -> None:
        prefix = f"{name:<{WIDTH}} |"
        if self._coloured:
            prefix = f"\x1b[{COLOURS.get(name, 0)}m{prefix}\x1b[0m"
        # Callers of the API choose parts of the text: it must not command the terminal.
        with suppress(queue.Full):
            self._waiting.put_nowait(f"{prefix} {escape(line)}\n".encode())

    def close(self) -> None:
        """Write what waits, unless the reader takes longer than a second."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(FLUSH_S)

    def _write(self) -> None:
        # The descriptor, not sys.stdout: a lock held there at the end of Python would be fatal.
        with suppress(OSError):
            while (line := self._waiting.get()) is not None:
                while line:
                    line = line[os.write(1, line) :]
