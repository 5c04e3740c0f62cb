"""Tests of the contract: answers that are compressed by gzip."""

import gzip
import json

import aiohttp
import pytest

from api.compression import LEAST_BYTES, SHORT_BYTES, accepts_gzip
from tests.support.listing import create_numbered
from tests.support.resources import PATH
from tests.support.service import Client


async def raw(client: Client, path: str, **headers: str) -> tuple[bytes, aiohttp.ClientResponse]:
    """Return the body of an answer without decompressing it, and the response."""
    sent = {
        "X-Auth-Token": client.token,
        "X-Organization-Id": str(client.organization_id),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(f"{client.base_url}{path}", headers=sent) as response,
    ):
        return await response.read(), response


@pytest.mark.parametrize("size", [1, 4, 200], ids=["one", "a few", "in a thread"])
async def test_a_long_document_is_compressed(client: Client, size: int) -> None:
    await create_numbered(client, min(size, 100))
    if size > 100:
        await create_numbered(client, size - 100)
    path = f"{PATH}?page[size]={size}".replace("[", "%5B").replace("]", "%5D")

    plain, answer = await raw(client, path, Accept_Encoding="identity")
    assert "Content-Encoding" not in answer.headers
    assert (len(plain) > SHORT_BYTES) == (size == 200)
    zipped, answer = await raw(client, path, Accept_Encoding="br, gzip")

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Length"] == str(len(zipped))
    assert len(zipped) < len(plain)
    assert json.loads(gzip.decompress(zipped)) == json.loads(plain)
    for name in ("Content-Type", "Cache-Control"):
        assert name in answer.headers
    assert "Accept-Encoding" in answer.headers["Vary"]


async def test_a_short_document_is_not_compressed(client: Client) -> None:
    body, answer = await raw(client, f"{PATH}/1", Accept_Encoding="gzip")

    assert answer.status == 404
    assert len(body) <= LEAST_BYTES
    assert "Content-Encoding" not in answer.headers
    json.loads(body)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip; q=1.0", True),
        ("*", True),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity, *;q=0.1", True),
        (";;,;q", False),
        ("gzip," * 5000, True),
    ],
)
def test_a_client_chooses_by_its_header(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
