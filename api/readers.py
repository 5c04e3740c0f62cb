"""Whose long bodies are received and read: places, and turns by organization."""

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from shared.turns import Turns

RECEIVED, RECEIVED_EACH = 64, 16
"""Long bodies that are held at a time in this process, and those of one organization among them:
from the time at which more than LONG_BYTES of one have come until it is read. Each takes up to
1 MiB, and twice that for a moment."""

LONG_BYTES = 64 * 1024
"""As much is received of any body. Only a bulk request may have more."""

WAITING = 32
"""How many long bodies of one organization wait, to be received and to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The turns in which long bodies are received, and those in which one at a time is read."""

    receiving: Turns = field(
        default_factory=lambda: Turns(RECEIVED, each=RECEIVED_EACH, waiting=WAITING)
    )
    reading: Turns = field(default_factory=lambda: Turns(1, each=1, waiting=WAITING))

    def receive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Hold one of a key's places for a long body. Raises Busy."""
        return self.receiving.turn(key)

    def read(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Hold a key's turn to read. Raises Busy."""
        return self.reading.turn(key)
