"""The host in links: the API uses the host that a client names only if the settings allow it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.support.resources import PATH, body
from tests.support.service import MEDIA_TYPE, Service
from tests.support.starting import StartService

EVIL = "evil.example"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a setting to read; these tests listen on loopback


async def ask(service: Service, head: str, document: Any = None) -> tuple[int, dict[str, str], Any]:
    """Send a request line and Host fields unchanged; return the answer's status, headers and
    document.
    """
    url = urlsplit(service.base_url)
    client = service.client
    sent = b"" if document is None else json.dumps(document).encode()
    typed = f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(sent)}\r\n" if sent else ""
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        async with asyncio.timeout(10):
            writer.write(
                head.encode("latin-1")
                + f"X-Auth-Token: {client.token}\r\nX-Organization-Id: {client.organization_id}\r\n"
                f"X-Forwarded-Host: {EVIL}\r\nX-Forwarded-Proto: https\r\n"
                f"Forwarded: host={EVIL};proto=https\r\n{typed}Connection: close\r\n\r\n".encode()
                + sent
            )
            answer = await reader.read()
    finally:
        writer.close()
    lines, _, content = answer.partition(b"\r\n\r\n")
    first, *rest = lines.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in rest)}
    return int(first.split()[1]), headers, json.loads(content)


def links_of(headers: dict[str, str], document: Any) -> Iterator[str]:
    """Yield every address of the API in an answer."""
    if "location" in headers:
        yield headers["location"]
    resources = document["data"] if isinstance(document["data"], list) else [document["data"]]
    for resource in resources:
        for name in ("url", "thumb", "temp_url"):
            if resource["attributes"][name] is not None:
                yield resource["attributes"][name]
    yield from (link for link in document.get("links", {}).values() if link)


async def prefixes(service: Service, host: str, target: str = "", version: str = "1.1") -> set[str]:
    """Send all requests that return links, and return the part of each link before its path."""
    attachment_id = (await service.client.create("a.png"))["data"]["id"]
    await service.execute(
        "UPDATE attachments SET uploaded_at = now(), resized = true, thumbnail_name = 'a.png'"
        " WHERE id = $1",
        int(attachment_id),
    )
    found = set()
    for method, path, document in (
        ("POST", PATH, body({"name": "a.png"})),
        ("GET", f"{PATH}/{attachment_id}", None),
        ("PATCH", f"{PATH}/{attachment_id}", body({"external_id": "1"}, attachment_id)),
        ("GET", f"{PATH}?page[number]=2&page[size]=1", None),
        ("GET", f"{PATH}?page[after]=&page[size]=1", None),
    ):
        head = f"{method} {target}{path} HTTP/{version}\r\n{host}"
        status, headers, shown = await ask(service, head, document)
        assert status in (200, 201), (head, shown)
        links = list(links_of(headers, shown))
        assert links
        for link in links:
            before, slash, _ = link.partition(
                "/attachments/files/" if "/files/" in link else "/api/v2/attachments"
            )
            assert slash, link
            found.add(before)
    return found


async def test_links_use_the_address_of_the_settings_for_every_host(
    start_service: StartService,
) -> None:
    service = await start_service(api_url="https://api.example/base", hosts=EVIL)

    for host in (f"Host: {EVIL}\r\n", "Host: 127.0.0.1\r\n", "Host: api.example\r\n"):
        assert await prefixes(service, host) == {"https://api.example/base"}


async def test_a_host_on_the_list_is_in_links(start_service: StartService) -> None:
    service = await start_service(hosts="host, API.example:8443,bücher.example,[2001:DB8::1]:80")

    for host in ("host", "HOST", "api.Example:8443", "xn--bcher-kva.example", "[2001:db8::1]:80"):
        assert await prefixes(service, f"Host: {host}\r\n") == {f"http://{host.lower()}"}


STRANGE = (
    f"{EVIL} host:80 host. x.host hosts api.example api.example:844 127.0.0.1.x 127.0.0.2"
    " 127.0.0.1:0 127.0.0.1:99999 localhost. localhost.evil.example [::2] [::] [::::1]:80"
    " [::ffff:127.0.0.1] [1.2.3.4] 0.0.0.0 2130706433"
).split()


async def test_no_other_host_is_in_links(start_service: StartService) -> None:
    service = await start_service(hosts="host,api.example:8443")

    for host in STRANGE:
        assert await prefixes(service, f"Host: {host}\r\n") == {""}, host


async def test_loopback_is_in_links_where_the_api_listens_on_it(
    service: Service, start_service: StartService
) -> None:
    everywhere = await start_service(api_host=EVERYWHERE)

    for host in ("127.0.0.1", "127.0.0.1:9", "localhost:80", "LocalHost", "[::1]:65535"):
        assert await prefixes(service, f"Host: {host}\r\n") == {f"http://{host.lower()}"}
        assert await prefixes(everywhere, f"Host: {host}\r\n") == {""}


async def test_a_target_in_absolute_form_makes_no_link(start_service: StartService) -> None:
    service = await start_service(hosts="host")

    for host, target in (
        ("host", f"http://{EVIL}"),
        (EVIL, "http://host"),
        ("host", f"https://{EVIL}:8443"),
        ("host", "http://evil@host"),
    ):
        assert await prefixes(service, f"Host: {host}\r\n", target) == {""}, (host, target)


async def test_http_1_0_needs_no_host_and_gets_relative_links(service: Service) -> None:
    assert await prefixes(service, "", version="1.0") == {""}


REFUSED = ["", " ", "evil@x", "a b", "a/b", "[::1", "host:port", "http://host", "host,evil", "é"]


async def test_an_invalid_host_is_refused_and_not_shown(service: Service) -> None:
    for host in REFUSED:  # RFC 9112, section 3.2, requires the answer 400
        for lines in (f"Host: {host}\r\n", f"Host: 127.0.0.1\r\nHost: {host}\r\n"):
            status, headers, document = await ask(service, f"GET {PATH} HTTP/1.1\r\n{lines}")

            assert status == 400, lines
            assert "location" not in headers
            assert "evil" not in json.dumps(document)


async def test_a_relative_address_of_a_file_opens(start_service: StartService) -> None:
    service = await start_service(api_host=EVERYWHERE)
    attachment_id = await service.client.upload(b"text", "a.txt")
    await service.execute(
        "UPDATE attachments SET uploaded_at = now() WHERE id = $1", int(attachment_id)
    )
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    assert url.startswith("/attachments/files/")

    answer = await service.client.request("GET", url)

    assert answer.status == 302
