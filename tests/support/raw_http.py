"""A function that sends a raw HTTP request to the API and returns the raw answer."""

import asyncio

from tests.support.resources import body
from tests.support.service import Service

DOCUMENT = body({"name": "a.png"})


async def exchange(service: Service, head: bytes, sent: bytes | None = None) -> bytes:
    """Send a request's head, and return all received bytes.

    When the API has answered `100 Continue`, send the body `sent`.
    """
    host, _, port = service.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head)
        async with asyncio.timeout(20):
            received = await reader.readuntil(b"\r\n\r\n")
            if sent is not None and received.startswith(b"HTTP/1.1 100 "):
                writer.write(sent)
            return received + await reader.read()
    finally:
        writer.close()
