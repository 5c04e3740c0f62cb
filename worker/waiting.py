"""Log what a worker waits for at its start, until it takes wake-ups."""

import threading
import time
from typing import Final, Literal

from shared.log import get_logger

FIRST_S: Final = 1.0
AGAIN_S: Final = 60.0
"""Seconds until the first log line, and between two further ones."""

Need = Literal["decoders", "database", "broker"]

log = get_logger(__name__)


class Waiting:
    """Logs the missing parts, at each change and once a minute, until `ready` is called."""

    def __init__(self) -> None:
        self.needed: Need = "decoders"
        self._ready = threading.Event()
        threading.Thread(target=self._run, name="waiting", daemon=True).start()

    def ready(self) -> None:
        """Log that the worker is ready; further calls do nothing."""
        if not self._ready.is_set():
            self._ready.set()
            log.info("worker is ready")

    def stop(self) -> None:
        """Stop logging."""
        self._ready.set()

    def _run(self) -> None:
        logged: tuple[Need | None, float] = (None, 0.0)
        while not self._ready.wait(FIRST_S):
            needed, now = self.needed, time.monotonic()
            if needed != logged[0] or now - logged[1] >= AGAIN_S:
                log.info("worker waits", missing=needed)
                logged = (needed, now)
