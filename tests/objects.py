"""The store as tests use it beside the service: put, look, count what is read, hold it back."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from unittest import mock
from urllib.parse import urlsplit

from shared.errors import ObjectMissing
from shared.storage import Storage, open_storage
from tests.service import make_settings
from tests.stack import Stack


@asynccontextmanager
async def opened_storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket that all tests share."""
    environment = stack.environment("postgresql://nowhere/none")
    async with AsyncExitStack() as exits:
        with mock.patch.dict(os.environ, environment):
            storage = await exits.enter_async_context(open_storage(make_settings(environment)))
            await storage.credentials()
        yield storage


async def exists(storage: Storage, key: str) -> bool:
    """Whether there is an object under a key."""
    try:
        await storage.head(key)
    except ObjectMissing:
        return False
    return True


async def content(storage: Storage, key: str) -> bytes:
    """Read a whole object."""
    async with storage.read(key, end=2**40) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


class StoreProxy:
    """Stands between a worker and the store, counts what the store sends, and can hold it back.

    `received` counts bytes that were let through, `held` answers that wait.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname, parts.port
        self.received = 0
        self.held = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The endpoint to give to the worker."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def hold(self) -> None:
        """Let no further byte of an answer through."""
        self._flowing.clear()

    def let_go(self) -> None:
        """Let everything through again."""
        self._flowing.set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Drop all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        store_reader, store_writer = await asyncio.open_connection(self._host, self._port)
        try:
            # Each way ends the other, so that a connection that one side drops is dropped.
            ways = [
                asyncio.create_task(self._pump(reader, store_writer, answers=False)),
                asyncio.create_task(self._pump(store_reader, writer, answers=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for end in (writer, store_writer):
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if answers:
                    self.held += 1
                    await self._flowing.wait()
                    self.held -= 1
                    self.received += len(data)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def store_proxy(stack: Stack) -> AsyncIterator[StoreProxy]:
    """Run a proxy in front of the store."""
    proxy = StoreProxy(stack.seaweedfs.url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
