"""Shared parts of the tests of bad requests: an API that holds attachments of two organizations."""

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from multidict import CIMultiDict

from shared.request_ids import read_id
from tests.data.bad_bodies import body_of
from tests.support.service import MEDIA_TYPE, Answer, Client, Service

PATH = "/api/v2/attachments"
BULK = f"{MEDIA_TYPE}; ext=bulk"

# Maps each status to the titles and the detail that an error with this status may have. If the
# detail is None, any detail is allowed. The texts are from contract.md, "General errors".
WORDS: dict[int, tuple[set[str], str | None]] = {
    400: (
        {
            "Bad Request",
            "Unsupported Filter",
            "Unsupported Filter Value",
            "Unsupported Sort",
            "Unsupported Include",
        },
        None,
    ),
    401: ({"Unauthenticated"}, "You are not authenticated"),
    403: ({"Access Denied"}, None),
    404: ({"Record Not Found"}, "The requested record was not found"),
    405: ({"Method Not Allowed"}, None),
    406: ({"Not Acceptable"}, "The request was not accepted"),
    408: ({"Request Timeout"}, None),
    409: ({"Conflict"}, None),
    413: ({"Payload Too Large"}, None),
    415: ({"Unsupported Media Type"}, "Unsupported content type"),
    417: ({"Expectation Failed"}, None),
    422: ({"Invalid Attribute"}, None),
    429: ({"Too Many Requests"}, None),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An API that holds one attachment of the caller and one attachment of another organization."""

    service: Service
    mine: str
    theirs: str

    @property
    def client(self) -> Client:
        """Return the HTTP client that sends the caller's token."""
        return self.service.client

    async def rows(self) -> list[str]:
        """Return every row of `attachments` as text."""
        found = await self.service.database.fetch("SELECT a::text FROM attachments AS a ORDER BY 1")
        return [row[0] for row in found]


def assert_refused(answer: Answer, status: int) -> None:
    """Assert that a response is an error document of the contract and shows no internal detail."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == f"{MEDIA_TYPE}; charset=utf-8"
    assert answer.document.keys() == {"errors"}
    titles, detail = WORDS[status]
    assert answer.document["errors"]
    for error in answer.document["errors"]:
        assert error["status"] == str(status)
        assert error["title"] in titles
        assert error["detail"] == detail if detail else error["detail"]
        if status == 422:
            assert error["code"] == "invalid_attribute"
            assert error["source"]["pointer"].startswith("data/")
    assert b"Traceback" not in answer.body
    assert read_id(answer.headers["X-Request-Id"])


async def exchange(
    target: Target, *pieces: bytes, within_s: float = 5, closes: bool = False
) -> Answer:
    """Send raw bytes to the API and read the response.

    If `closes` is true, assert that the API then closes the connection.

    The placeholders `{host}`, `{auth}` and `{id}` in the bytes are replaced by their values.
    """
    url = urlsplit(target.service.base_url)
    filled = {
        b"{host}": f"Host: {url.netloc}\r\n".encode(),
        b"{auth}": (
            f"Host: {url.netloc}\r\nX-Auth-Token: {target.client.token}\r\n"
            f"X-Organization-Id: {target.client.organization_id}\r\n"
        ).encode(),
        b"{id}": target.mine.encode(),
    }
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        async with asyncio.timeout(within_s):
            for piece in pieces:
                for name, value in filled.items():
                    piece = piece.replace(name, value)
                writer.write(piece)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").strip().split("\r\n")
            headers: CIMultiDict[str] = CIMultiDict(
                (name, value.strip()) for name, _, value in (line.partition(":") for line in lines)
            )
            body = await reader.readexactly(int(headers.get("Content-Length", "0")))
            if closes:
                assert await reader.read() == b""
    finally:
        writer.close()
    return Answer(
        status=int(status_line.split(" ")[1]),
        headers=headers,
        body=body,
        document=json.loads(body) if "json" in headers.get("Content-Type", "") else None,
    )


def post(*headers: bytes, body: bytes = b"") -> bytes:
    """Return the bytes of a create request with the given header fields."""
    return b"".join(
        [
            b"POST /api/v2/attachments HTTP/1.1\r\n{auth}",
            b"Content-Type: application/vnd.api+json\r\n",
            *(header + b"\r\n" for header in headers),
            b"\r\n",
            body,
        ]
    )


BODY = body_of()
LENGTH = b"Content-Length: %d" % len(BODY)
