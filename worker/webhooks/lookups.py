"""Resolve the names of receivers with the system's resolver, each in a thread of its own.

The event loop resolves names in a few threads: with uvloop, two names at a time. The connections to
the store, the broker and the database need these threads too. If the servers of a name do not
answer, its look-up holds a thread for many seconds, also after the delivery has timed out.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

MAX_LOOKUPS: Final = 128
"""Maximum number of names that are resolved at one time. Other names wait."""


class Lookups(AbstractResolver):
    """Resolves names. Connections that need one name at the same time share its look-up.

    So a name whose servers do not answer holds one of the `most` threads, however many deliveries
    are sent to it.
    """

    def __init__(self, most: int = MAX_LOOKUPS) -> None:
        self._free = asyncio.Semaphore(most)
        self._running: dict[tuple[str, int], asyncio.Task[list[Any]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name. Raises OSError, or UnicodeError if it can be no name of a host."""
        key = (host, int(family))
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._look_up(*key))
            task.add_done_callback(lambda ended: self._forget(key, ended))
        found = await asyncio.shield(task)  # another connection may wait for the same look-up
        return [
            ResolveResult(
                hostname=host,
                host=_address(sockaddr),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, sockaddr in found
        ]

    async def close(self) -> None:
        """Cancel the look-ups. Their threads end when the system's resolver gives up."""
        for task in list(self._running.values()):
            task.cancel()

    def _forget(self, key: tuple[str, int], ended: "asyncio.Task[list[Any]]") -> None:
        del self._running[key]
        if not ended.cancelled():
            ended.exception()  # asyncio logs an error that nobody reads

    async def _look_up(self, host: str, family: int) -> list[Any]:
        async with self._free:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[list[Any]] = loop.create_future()

            def settle(found: list[Any], error: Exception | None) -> None:
                if answer.done():
                    return
                if error is None:
                    answer.set_result(found)
                else:
                    answer.set_exception(error)

            def work() -> None:
                found: list[Any] = []
                fault: Exception | None = None
                try:
                    found = socket.getaddrinfo(
                        host, 0, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                    )
                except Exception as error:  # `resolve` raises it in the task of the delivery
                    fault = error
                with suppress(RuntimeError):  # the loop may have ended meanwhile
                    loop.call_soon_threadsafe(settle, found, fault)

            # A daemon thread, because the process must be able to end before the look-up does.
            threading.Thread(target=work, name="name of a receiver", daemon=True).start()
            return await answer


def _address(sockaddr: tuple[Any, ...]) -> str:
    """Return the address of a socket address, with the zone of a link-local IPv6 address."""
    zone = sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{sockaddr[0]}%{zone}" if zone else str(sockaddr[0])
