"""An HTTP proxy, as in a company's network. It records each host and port that clients request."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from shared.hosts import MAX_PORT


class WebProxy:
    """An HTTP proxy.

    `targets` maps `host:port` to a port on loopback. `seen` lists each requested `host:port`.
    """

    def __init__(self, targets: Mapping[str, int]) -> None:
        self._targets = targets
        self._server: asyncio.Server | None = None
        self.seen: list[str] = []
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if method == "CONNECT":
                place = target
            else:
                parts = urlsplit(target)
                place = f"{parts.hostname}:{parts.port or 80}"
            self.seen.append(place)
            port = self._targets.get(place, 0)
            if not 0 < port <= MAX_PORT:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            there, away = await asyncio.open_connection("127.0.0.1", port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:  # later requests are sent on with absolute URLs, which servers accept
                away.write(head)
            await asyncio.gather(_copy(reader, away), _copy(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def running_web_proxy(targets: Mapping[str, int]) -> AsyncIterator[WebProxy]:
    """Run an HTTP proxy, and yield it."""
    proxy = WebProxy(targets)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
