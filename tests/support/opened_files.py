"""Functions that request files by their addresses."""

import re
from typing import Any
from urllib.parse import urlsplit

from yarl import URL

from shared.links import Links
from shared.states import State
from tests.support.service import Answer, Client, Service


async def fetch(client: Client, address: str) -> Answer:
    """Request a file by its address alone, without credentials."""
    parts = urlsplit(address)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return await client.request(
        "GET", target, headers={"X-Auth-Token": "", "X-Organization-Id": ""}
    )


def cache_s(answer: Answer) -> int:
    """Return how many seconds a client may cache a redirect."""
    found = re.fullmatch(r"private, max-age=([0-9]+)", answer.headers["Cache-Control"])
    assert found is not None
    return int(found[1])


async def opened(client: Client, address: str) -> tuple[bytes, Any]:
    """Follow a file's address to the store, and return the content and the store's headers."""
    answer = await fetch(client, address)
    assert answer.status == 302
    location = URL(answer.headers["Location"], encoded=True)
    async with client.session.get(location) as file:
        assert file.status == 200, await file.text()
        return await file.read(), file.headers


async def settled(
    client: Client, content: bytes, name: str, state: State = "ready", **attributes: Any
) -> Any:
    """Upload a file, wait until it has been processed, and return its attributes."""
    resource = await client.settled(await client.upload(content, name, **attributes))
    assert resource["meta"]["state"] == state
    return resource["attributes"]


def signed(service: Service, key: str, stamp: str = "1776398568") -> str:
    """Sign an address that the service has not returned."""
    return f"{service.base_url}/{key}?{stamp}&s={Links(service.settings).sign(key, stamp, '')}"
