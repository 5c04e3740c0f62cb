"""Each metric of an API has the value that real requests, events and faults must give it."""

import asyncio
from math import nan
from urllib.parse import urlsplit

import pytest

from deploy.embedded.valkey import EmbeddedValkey
from shared.broker import QUEUES, queue_name
from tests.support.faults import PHOTO, changed, reaches
from tests.support.metric_values import (
    OFTEN,
    ONE_LETTER,
    Table,
    Within,
    reached,
    shows_exactly,
    value_of,
)
from tests.support.proxy import Proxy
from tests.support.scraping import metrics_url
from tests.support.service import Client, Service, until
from tests.support.service_processes import ApiProcess, client_of
from tests.support.starting import Launch, StartService

pytestmark = pytest.mark.fault

MARK_BYTES = 32
"""The size in bytes of the object by which an API recognises its bucket. Each check reads this
object."""

LIST, ITEM = "/api/v2/attachments", "/api/v2/attachments/{id}"
ORGANIZATION = 1
"""The id of the first organization of a database."""

QUEUE = queue_name(ORGANIZATION)

SERVED: Table = {
    "attachments_backlog_oldest_seconds": Within(0.01, 600),
    "attachments_backlog_uploads": 1,
    f'attachments_broker_queue_messages{{queue="{QUEUE}"}}': 1,
    "attachments_broker_queue_messages": 1,
    "attachments_broker_up": 1,
    'attachments_database_connections{state="in_use"}': 0,
    'attachments_database_connections{state="free"}': Within(1, 10),
    "attachments_database_errors_total": 0,
    "attachments_database_max_connections": 10,
    "attachments_database_wait_seconds_count": Within(1),
    "attachments_dead_letters": 1,
    "attachments_dead_letters_not_kept_total": 2,
    "attachments_due_oldest_seconds": Within(100, 700),
    "attachments_due_rows": 1,
    'attachments_events_total{dialect="seaweedfs",effect="recorded"}': 1,
    'attachments_events_total{dialect="unknown",effect="unreadable"}': 3,
    "attachments_log_lines_dropped_total": 0,
    "attachments_older_objects_total": 0,
    'attachments_refused_requests_total{reason="unreadable"}': 1,
    "attachments_refused_requests_total": 1,
    f'attachments_request_seconds_count{{route="{LIST}",method="POST"}}': 3,
    f'attachments_request_seconds_count{{route="{LIST}",method="GET"}}': 1,
    f'attachments_request_seconds_count{{route="{ITEM}"}}': 2,
    'attachments_request_seconds_count{route="none",method="other"}': 1,
    f'attachments_requests_total{{route="{LIST}",status="201"}}': 3,
    f'attachments_requests_total{{route="{LIST}",status="401"}}': 1,
    f'attachments_requests_total{{route="{ITEM}",status="200"}}': 2,
    'attachments_requests_total{route="none",status="404"}': 1,
    'attachments_store_errors_total{verb="get",error="refused"}': 1,
    "attachments_store_errors_total": 1,
    "attachments_store_read_bytes_total": Within(MARK_BYTES, 20 * MARK_BYTES),
    'attachments_store_request_seconds_count{verb="get"}': Within(2, 21),
    "attachments_trace_spans_total": 0,
    "attachments_wake_ups_dropped_total": 0,
    "attachments_wake_ups_published_total": 1,
}
"""The expected metrics of an API after `send_requests` and `ask_the_store`."""


async def test_each_metric_of_an_api_has_its_value(
    start_service: StartService, launch: Launch, proxy: Proxy, valkey: EmbeddedValkey
) -> None:
    service = await start_service(broker_url=valkey.url, publish_grace="300")
    api = await launch(
        ApiProcess(
            service.environment,
            program=changed(OFTEN + ONE_LETTER, "api"),
            s3_endpoint_url=proxy.url,
        )
    )
    client = client_of(service, api)
    assert client.organization_id == ORGANIZATION
    service.stack.relay.target = api.url
    ids = await send_requests(service, client)
    await ask_the_store(client, api, proxy)
    shows_exactly(await reached(api, SERVED), "A", SERVED)
    await wait_for_locks(service, client, api, ids)
    valkey.kill()
    await client.upload(PHOTO, "img.jpg")
    found = await reached(
        api, {"attachments_broker_up": 0, "attachments_wake_ups_dropped_total": 1}
    )
    assert value_of(found, "attachments_wake_ups_published_total") == 1
    await reached(
        api,
        {
            f'attachments_broker_queue_messages{{queue="{queue_name(n)}"}}': nan
            for n in range(QUEUES)
        },
    )


async def send_requests(service: Service, client: Client) -> list[str]:
    """Send requests and events with different outcomes, and return the ids of three attachments."""
    ids = [await client.upload(PHOTO, "img.jpg")]
    await reaches(service, ids[0], "uploaded")
    ids += [(await client.create())["data"]["id"] for _ in range(2)]
    await service.execute(
        "UPDATE attachments SET due_at = now() - interval '100 s' WHERE id = $1", int(ids[1])
    )
    for each in ids[:2]:
        await client.show(each)
    for body in (b"no JSON", b"another", b"a third"):
        assert await service.stack.relay.post(body) == 200
    assert (await client.request("GET", LIST, headers={"X-Auth-Token": "unknown"})).status == 401
    assert (await client.request("GET", "/nowhere")).status == 404
    url = urlsplit(client.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"no HTTP\r\n\r\n")
    assert b" 400 Bad Request\r\n" in await reader.read()
    writer.close()
    return ids


async def ask_the_store(client: Client, api: ApiProcess, proxy: Proxy) -> None:
    """Request the API's readiness while the store refuses all requests."""
    proxy.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    url = metrics_url(api).removesuffix("/metrics")

    async def is_refused() -> bool:  # the API reuses an answer for two seconds
        async with client.session.get(f"{url}/health/ready") as answer:
            return bool((await answer.json())["parts"]["store"] != "ok")

    await until(is_refused)
    proxy.let_go()


async def wait_for_locks(service: Service, client: Client, api: ApiProcess, ids: list[str]) -> None:
    """Lock all rows, and send two requests that change rows.

    Each request uses a database connection until its statement fails.
    """
    async with service.database.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM attachments FOR UPDATE")
        requests = [
            asyncio.create_task(client.request("DELETE", f"{LIST}/{each}")) for each in ids[1:]
        ]
        await reached(api, {'attachments_database_connections{state="in_use"}': 2})
        assert [answer.status for answer in await asyncio.gather(*requests)] == [503, 503]
    await reached(
        api,
        {
            'attachments_database_connections{state="in_use"}': 0,
            "attachments_database_errors_total": 2,
        },
    )
