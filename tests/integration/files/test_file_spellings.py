"""Addresses of files in the spellings of HTTP libraries and of people."""

from urllib.parse import quote, urlencode

import pytest
from yarl import URL

from tests.data.images import gradient_photo
from tests.support.opened_files import fetch, opened, settled
from tests.support.service import Client
from tests.support.starting import StartService


async def test_a_location_is_quoted_so_that_no_name_can_break_out(client: Client) -> None:
    name = "a&response-content-type=text%2Fhtml#.jpg"
    attributes = await settled(client, gradient_photo(), name)

    content, headers = await opened(client, attributes["url"])

    assert content == gradient_photo()
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"].endswith(f"filename*=UTF-8''{quote(name, safe='')}")


def rewritten(address: str) -> dict[str, str]:
    """Return an address as several libraries write it, by the libraries' names.

    Each of these addresses opens the same file.
    """
    path, _, query = address.partition("?")
    stamp, *rest = query.split("&")
    pairs = [(stamp, ""), *((name, value) for name, _, value in (x.partition("=") for x in rest))]
    return {
        "as it is": address,
        "Python, Go and JavaScript": f"{path}?{urlencode(pairs)}",
        "sorted": f"{path}?{urlencode(sorted(pairs, reverse=True))}",
        "signature first": f"{path}?{'&'.join([*rest, stamp])}",
        "yarl": str(URL(address).update_query(utm_source="a")),
        "others in front": f"{path}?_=1&utm=a%26s%3Db&x&{query}",
        "others between": f"{path}?{stamp}&x=1&{'&'.join(rest)}",
        "a time of the cache's": f"{address}&1800000000",
        "a time of the cache's in front": f"{path}?1800000000=&{query}",
        "encoded": address.replace("&s=", "&%73="),
        "empty parts": f"{path}?&{query}&&",
        "a fragment": f"{address}#page=2",
    }


@pytest.mark.parametrize("ttl", ["", "3600"], ids=["without end", "with an end"])
async def test_an_address_opens_however_libraries_write_it(
    start_service: StartService, ttl: str
) -> None:
    service = await start_service(files_ttl=ttl)
    service.stack.relay.target = None
    attachment_id = await service.client.upload(gradient_photo(), "photo.jpg")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now(), resized = true, thumbnail_name = file_name"
    )
    attributes = (await service.client.show(attachment_id))["attributes"]
    for address in (attributes["url"], attributes["thumb"]):
        for how, spelling in rewritten(address).items():
            assert (await fetch(service.client, spelling)).status == 302, how
        path, _, query = address.partition("?")
        signature = query.partition("&s=")[2]
        stamps = "&".join(str(each) for each in range(1, 5))
        for refused in (
            f"{path}?s={signature}",
            f"{path}?x={query}",
            f"{path}?{query.replace('&s=', '=1&s=')}",
            f"{path}?{query}&s=x",
            f"{path}?{stamps}&{query}",
        ):
            assert (await fetch(service.client, refused)).status == 404, refused
