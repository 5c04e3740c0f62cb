"""A proxy in a separate process that delays the start of each answer, as a distant store does."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A running proxy: its address, used in place of the store's, and a count of passed bytes."""

    url: str
    _received: Any = field(repr=False)

    @property
    def received_bytes(self) -> int:
        """Return how many bytes the store has sent through the proxy so far."""
        return int(self._received.value)


@contextmanager
def running_proxy(target: str, *, delay_s: float) -> Iterator[Proxy]:
    """Run a proxy in front of an http:// address.

    It delays the first byte of every answer by `delay_s`.
    """
    context = multiprocessing.get_context("spawn")
    received = context.Value("q", 0)
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(target, delay_s, received, theirs), daemon=True, name="proxy"
    )
    process.start()
    try:
        yield Proxy(url=f"http://127.0.0.1:{ours.recv()}", _received=received)
    finally:
        process.terminate()
        process.join()


def _serve(target: str, delay_s: float, received: Any, parent: Connection) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(target, delay_s, received, parent))


async def _listen(target: str, delay_s: float, received: Any, parent: Connection) -> None:
    address = urlsplit(target)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.close()
            return
        await _relay((reader, writer), target, delay_s, received)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=CHUNK_BYTES)
    parent.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(client: Stream, store: Stream, delay_s: float, received: Any) -> None:
    """Pass bytes in both directions until one side ends; delay the first bytes of an answer.

    The client sends no request before it has read the last answer. So a change of direction shows
    where an answer begins.
    """
    asked = False

    async def forward() -> None:
        nonlocal asked
        while data := await client[0].read(CHUNK_BYTES):
            asked = True
            store[1].write(data)
            await store[1].drain()

    async def back() -> None:
        nonlocal asked
        while data := await store[0].read(CHUNK_BYTES):
            if asked:
                await asyncio.sleep(delay_s)
                asked = False
            received.value += len(data)
            client[1].write(data)
            await client[1].drain()

    ways = [asyncio.create_task(forward()), asyncio.create_task(back())]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    client[1].close()
    store[1].close()
