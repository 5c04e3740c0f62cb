"""Limit how many long bodies are received and parsed at one time. Organizations take turns."""

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from shared.turns import Turns

RECEIVED, RECEIVED_EACH = 64, 16
"""RECEIVED is the maximum number of long bodies in the memory of this process. RECEIVED_EACH is the
maximum for one organization. A body is counted from the time when more than LONG_BYTES of it have
arrived until it is parsed. A body takes up to 1 MiB of memory, and briefly twice as much."""

LONG_BYTES = 64 * 1024
"""Number of bytes that are received of each body without waiting for a turn. Only bodies of bulk
requests may be longer than this."""

WAITING = 32
"""Maximum number of bodies of one organization that wait to be received. The same number may
wait to be parsed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Limits how many long bodies are received at one time, and how many are parsed."""

    receiving: Turns = field(
        default_factory=lambda: Turns(RECEIVED, each=RECEIVED_EACH, waiting=WAITING)
    )
    reading: Turns = field(default_factory=lambda: Turns(1, each=1, waiting=WAITING))

    def receive(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Wait for a turn and hold it while a long body of the organization `key` is received.

        Raises Busy if too many bodies of the organization wait already.
        """
        return self.receiving.turn(key)

    def read(self, key: Hashable) -> AbstractAsyncContextManager[None]:
        """Wait for a turn and hold it while a body of the organization `key` is parsed.

        Only one body is parsed at a time. Raises Busy if too many bodies of the organization wait
        already.
        """
        return self.reading.turn(key)
