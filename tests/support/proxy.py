"""A TCP proxy that simulates faults in front of the store, PostgreSQL or the broker.

A test can change the behaviour of the proxy at any time, also for open connections.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024
HEAD_BYTES = 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False, slots=True, kw_only=True)
class Link:
    """A client's connection to the proxy, and the proxy's connection to the server.

    `left` is the number of response bytes that may still pass; None means no limit. `head`
    holds the first bytes from the client, which show what kind of client it is.
    """

    left: int | None
    task: "asyncio.Task[None]"
    ends: list[asyncio.StreamWriter] = field(default_factory=list)
    head: bytes = b""

    def reset(self) -> None:
        """Reset both connections, as a crash of a machine between client and server would."""
        if self.task is not asyncio.current_task():  # the task must not cancel itself
            self.task.cancel()
        for end in self.ends:
            connection = end.transport.get_extra_info("socket")
            with suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.transport.abort()


class Proxy:
    """A proxy that passes bytes in both directions between clients and one server, until a test
    sets a fault.

    `received` is the number of response bytes that were passed on. `held` is the number of pieces
    of responses that the proxy holds back. `requested` is the number of bytes that clients have
    sent.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.received = 0
        self.held = 0
        self.requested = 0
        self._asking = asyncio.Event()
        self._answering = asyncio.Event()
        self._delay_s = 0.0
        self._left: int | None = None
        self._cut = False
        self._instead: bytes | None = None
        self._loses: Callable[[Link, bytes], bool] | None = None
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self.let_go()

    @property
    def url(self) -> str:
        """Return the server's address with the proxy's host and port."""
        assert self._server is not None
        user, at, _ = self._target.netloc.rpartition("@")
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    @property
    def links(self) -> int:
        """Return the number of open connections."""
        return len(self._links)

    # --- Behaviour that tests set ---------------------------------------------------------------

    def let_go(self) -> None:
        """Pass everything on again, including the bytes that were held back."""
        self._asking.set()
        self._answering.set()
        self._delay_s = 0.0
        self._cut = False
        self._instead = None
        self._loses = None
        self._truncate(None)

    def hold(self) -> None:
        """Hold back all further bytes of responses; requests still reach the server."""
        self._answering.clear()

    def swallow(self) -> None:
        """Hold back the bytes of both directions, like a network that drops every packet."""
        self._asking.clear()
        self._answering.clear()

    def lose(self, which: Callable[[Link, bytes], bool]) -> None:
        """Drop every piece of data for which `which` returns True, in both directions."""
        self._loses = which

    def delay(self, seconds: float) -> None:
        """Delay every piece by this number of seconds."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Reset all open connections, and reset every new connection."""
        self._cut = True
        for link in self._links:
            link.reset()

    def truncate(self, after_bytes: int) -> None:
        """Pass only this many further response bytes on a connection, then close the connection."""
        self._truncate(after_bytes)

    def answer(self, instead: bytes) -> None:
        """Send this response to every request, and pass no request on to the server."""
        self._instead = instead

    def _truncate(self, after_bytes: int | None) -> None:
        self._left = after_bytes
        for link in self._links:
            link.left = after_bytes

    # --- Implementation -------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=CHUNK_BYTES, backlog=1024
        )

    async def stop(self) -> None:
        """Stop listening, and reset all connections."""
        assert self._server is not None
        self._server.close()
        tasks = [link.task for link in self._links]
        for link in self._links:
            link.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = Link(left=self._left, task=task, ends=[writer])
        self._links.add(link)
        try:
            if self._cut:
                link.reset()
            else:
                await self._relay(link, (reader, writer))
        except asyncio.CancelledError:
            # `reset` has cancelled this task. If the exception left the task, asyncio would log it.
            pass
        finally:
            self._links.discard(link)
            for end in link.ends:
                end.close()  # asyncio first sends the bytes that are in its buffer

    async def _relay(self, link: Link, client: Stream) -> None:
        try:
            server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            link.reset()
            return
        link.ends.append(server[1])
        # When one direction ends, end the other too, so that both connections are closed.
        ways = [
            asyncio.create_task(
                self._pump(client[0], lambda data: self._request(link, data, client, server))
            ),
            asyncio.create_task(
                self._pump(server[0], lambda data: self._reply(link, data, client))
            ),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, pass_on: Callable[[bytes], Awaitable[bool]]
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                if not await pass_on(data):
                    return

    async def _request(self, link: Link, data: bytes, client: Stream, server: Stream) -> bool:
        link.head = (link.head + data)[:HEAD_BYTES]
        return self._is_lost(link, data) or await self._ask(data, client, server)

    def _is_lost(self, link: Link, data: bytes) -> bool:
        return self._loses is not None and self._loses(link, data)

    async def _ask(self, data: bytes, client: Stream, server: Stream) -> bool:
        self.requested += len(data)
        await self._asking.wait()
        await asyncio.sleep(self._delay_s)
        if self._instead is not None:
            client[1].write(self._instead)
            client[1].write_eof()
            # The client must close first: a reset by the proxy could make the client lose the
            # response.
            while await client[0].read(CHUNK_BYTES):
                pass
            return False
        server[1].write(data)
        await server[1].drain()
        return True

    async def _reply(self, link: Link, data: bytes, client: Stream) -> bool:
        if self._is_lost(link, data):
            return True
        self.held += 1
        try:
            await self._answering.wait()
        finally:
            self.held -= 1
        await asyncio.sleep(self._delay_s)
        if link.left is not None:
            data = data[: link.left]
            link.left -= len(data)
        self.received += len(data)
        client[1].write(data)
        await client[1].drain()
        return link.left != 0


@asynccontextmanager
async def running_proxy(target: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server; `target` is the server's address with host and port."""
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
