"""Floods of refused requests: a few log lines report how many there were."""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from api.clients import source_of
from api.noise import AT_ONCE
from api.pace import Pace
from tests.support.noise import PATH, exchange, lines_of, logged, request
from tests.support.service import Service, until
from tests.support.service_processes import ApiProcess

FLOOD = 2000


async def flood(api: ApiProcess, make: Callable[[], bytes], count: int = FLOOD) -> None:
    """Send `count` requests from one address, twenty at a time."""

    async def some() -> None:
        for _ in range(count // 20):
            await exchange(api, make())

    await asyncio.gather(*(some() for _ in range(20)))


KINDS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "no-http": ("unreadable request", lambda secret: f"{secret} x\r\n\r\n".encode()),
    "bad-header": ("unreadable request", lambda secret: request(PATH, f"X-Auth-Token : {secret}")),
    "bad-host": ("request refused", lambda secret: request(f"{PATH}?q={secret}", host="<a>")),
    "expect": ("request refused", lambda secret: request(f"/{secret}", "Expect: x")),
    "no-token": ("authentication failed", lambda secret: request(f"{PATH}?q={secret}")),
    "bearer": (
        "authentication failed",
        lambda secret: request(PATH, f"Authorization: Bearer é{secret}"),
    ),
    "event": (
        "authentication failed",
        lambda secret: request(f"/events/s3/{secret}?q={secret}", method="POST"),
    ),
    "sns": (
        "access denied",
        lambda secret: (
            request("/events/s3", "Content-Length: 300", method="POST")
            + json.dumps(
                {
                    "Type": "Notification",
                    "MessageId": secret,
                    "TopicArn": "arn:x",
                    "Message": "m",
                    "Timestamp": "t",
                    "SignatureVersion": "2",
                    "Signature": "s",
                    "SigningCertURL": "u",
                }
            )
            .encode()
            .ljust(300)
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_from_one_source_is_a_few_lines_that_count_it(
    api: ApiProcess, kind: str
) -> None:
    event, make = KINDS[kind]
    secret = f"sesame{secrets.token_hex(8)}"
    count = FLOOD if kind == "no-http" else 200
    await flood(api, lambda: make(secret), count)
    during = await logged(api, event, AT_ONCE)
    # There are up to two more lines if a minute ends during the flood.
    assert AT_ONCE <= len(during) <= AT_ONCE + 2
    # A request from another address is logged immediately, in its own line.
    await exchange(api, make(secret), source="127.0.0.2")
    await until(lambda: asyncio.sleep(0, lines_of(api.log(), event)[-1]["address"] == "127.0.0.2"))
    await api.stop()
    by_source: Counter[str] = Counter()
    for line in lines_of(api.log(), event):
        by_source[line["address"]] += line.get("count", 1)
    assert by_source == {"127.0.0.1": count, "127.0.0.2": 1}
    assert secret not in api.log()
    assert "Authorization" not in api.log()


async def test_requests_that_reach_no_route_are_counted(service: Service) -> None:
    def count(reason: str) -> float:
        pattern = rf'attachments_refused_requests_total{{reason="{reason}"}} (\S+)'
        found = re.search(pattern, service.metrics())
        return float(found[1]) if found else 0.0

    before = {reason: count(reason) for reason in ("unreadable", "host", "expect")}
    url = urlsplit(service.base_url)
    for sent in (b"x\r\n\r\n", request(host="<a>"), request(PATH, "Expect: x")):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(sent)
        await reader.read()
        writer.close()
    assert {reason: count(reason) - old for reason, old in before.items()} == {
        "unreadable": 1,
        "host": 1,
        "expect": 1,
    }


def test_a_client_of_ipv6_is_one_source_with_its_whole_network() -> None:
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::1") != source_of("2001:db8:1:2::1")
    assert source_of("10.0.0.1") == "10.0.0.1"
    assert source_of("") == "unknown"


async def test_only_refusals_without_a_known_token_wait_for_their_pace(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = 0

    async def wait(_self: Pace) -> None:
        nonlocal waited
        waited += 1

    monkeypatch.setattr(Pace, "wait", wait)
    client, unknown = service.client, {"X-Auth-Token": "unknown"}
    created = await client.create()
    for path in (f"{PATH}/{created['data']['id']}", f"{PATH}/1", f"{PATH}?sort=name"):
        await client.request("GET", path)
    assert (await client.request("GET", "/health/ready")).status == 200
    assert waited == 0
    for path, headers in ((PATH, unknown), (PATH, {"X-Auth-Token": ""}), ("/nowhere", {})):
        assert (await client.request("GET", path, headers=headers)).status in (401, 404)
    answer = await client.request("POST", "/events/s3", {}, headers={"X-Auth-Token": ""})
    assert answer.status == 401
    assert waited == 4
