"""Show the connections of all database pools of this process as metrics."""

from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from shared.metrics import DATABASE_CONNECTIONS, DATABASE_MOST


class Pool(Protocol):
    """A pool of connections to the database."""

    @property
    def connections(self) -> tuple[int, int, int]:
        """The numbers of used and free connections, and the maximum number of open connections."""


_pools: WeakSet[Pool] = WeakSet()


def show(pool: Pool) -> None:
    """Add a pool's numbers to the metrics until the pool is garbage-collected."""
    _pools.add(pool)


def _sum(index: int) -> Callable[[], float]:
    return lambda: sum(each.connections[index] for each in list(_pools))


DATABASE_CONNECTIONS.labels("in_use").set_function(_sum(0))
DATABASE_CONNECTIONS.labels("free").set_function(_sum(1))
DATABASE_MOST.set_function(_sum(2))
