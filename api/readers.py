"""Limit the number of long bodies that are received and parsed concurrently, in turns by
organization.
"""

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from shared.turns import Turns

RECEIVED, RECEIVED_EACH = 64, 16
"""Maximum number of long bodies in this process's memory, and of one organization among them. A
body counts from the moment when more than LONG_BYTES have arrived until it is parsed. A body takes
up to 1 MiB, and twice as much for a moment."""

LONG_BYTES = 64 * 1024
"""Bytes of any body that are received without a place. Only a bulk request may be longer."""

WAITING = 32
"""Maximum number of one organization's bodies that wait to be received. The same maximum
applies to its bodies that wait to be parsed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The turns in which long bodies are received, and the turns in which they are parsed."""

    receiving: Turns = field(
        default_factory=lambda: Turns(RECEIVED, each=RECEIVED_EACH, waiting=WAITING)
    )
    reading: Turns = field(default_factory=lambda: Turns(1, each=1, waiting=WAITING))

    def receive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Hold a place of `key`, an organization, while its long body is received.

        Raises Busy if too many bodies wait already.
        """
        return self.receiving.turn(key)

    def read(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Hold the turn of `key`, an organization, while its body is parsed.

        Raises Busy if too many bodies wait already.
        """
        return self.reading.turn(key)
