"""Functions that request the files of attachments by their addresses."""

import re
from typing import Any
from urllib.parse import urlsplit

from yarl import URL

from shared.links import Links
from shared.states import State
from tests.support.service import Answer, Client, Service


async def fetch(client: Client, address: str) -> Answer:
    """Request a file by its address, without a token."""
    parts = urlsplit(address)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return await client.request(
        "GET", target, headers={"X-Auth-Token": "", "X-Organization-Id": ""}
    )


def cache_s(answer: Answer) -> int:
    """Return the seconds for which a client may cache the API's redirect."""
    found = re.fullmatch(r"private, max-age=([0-9]+)", answer.headers["Cache-Control"])
    assert found is not None
    return int(found[1])


async def opened(client: Client, address: str) -> tuple[bytes, Any]:
    """Request a file's address, follow the redirect to the store, and return the content and the
    headers.
    """
    answer = await fetch(client, address)
    assert answer.status == 302
    location = URL(answer.headers["Location"], encoded=True)
    async with client.session.get(location) as file:
        assert file.status == 200, await file.text()
        return await file.read(), file.headers


async def settled(
    client: Client, content: bytes, name: str, state: State = "ready", **attributes: Any
) -> Any:
    """Upload a file, wait until it is settled in `state`, and return its attributes."""
    resource = await client.settled(await client.upload(content, name, **attributes))
    assert resource["meta"]["state"] == state
    return resource["attributes"]


def signed(service: Service, key: str, stamp: str = "1776398568") -> str:
    """Sign the address of a file as the service does, for any key and time stamp."""
    return f"{service.base_url}/{key}?{stamp}&s={Links(service.settings).sign(key, stamp, '')}"
