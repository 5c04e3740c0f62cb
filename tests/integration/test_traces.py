"""One trace leads from a request through the worker, store, decoder and database to the webhook."""

from collections.abc import AsyncIterator

import pytest_asyncio

from deploy.embedded.ports import choose_port
from tests.support.collector import Collector, SeenSpan, running_collector
from tests.support.events import message, record, send
from tests.support.faults import PHOTO
from tests.support.log_lines import named
from tests.support.receiver import SETTINGS, Receiver, make_webhook, running_receiver
from tests.support.service import Answer, Client, Service
from tests.support.service_processes import ApiProcess, WorkerProcess, client_of
from tests.support.stack import EVENTS_TOKEN
from tests.support.starting import Launch

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER_TRACE, OTHER_CALLER = "11f7651916cd43dd8448eb211c80319c", "11ad6b7169203331"
QUEUE = "attachments-{number}"
CREATE = {"data": {"type": "attachments", "attributes": {"name": "secret-name.jpg"}}}


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    """Start a trace collector."""
    async with running_collector() as running:
        yield running


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Start a receiver of webhooks on loopback."""
    async with running_receiver() as running:
        yield running


async def create(client: Client, **headers: str) -> Answer:
    """Send a create request whose `traceparent` names the caller's span as its parent."""
    named = {"traceparent": f"00-{TRACE}-{CALLER}-01", **headers}
    answer = await client.request("POST", "/api/v2/attachments", CREATE, headers=named)
    assert answer.status == 201
    return answer


def path_to(span: SeenSpan, spans: list[SeenSpan]) -> list[str]:
    """Return the names of all spans above a span, the top one first.

    The caller's span is returned as `caller`.
    """
    by_id = {each.span_id: each for each in spans}
    names = []
    above = span.parent_id
    while above in by_id:
        names.append(by_id[above].name)
        above = by_id[above].parent_id
    return ["caller" if above == CALLER else above, *reversed(names)]


def only(spans: list[SeenSpan], name: str) -> SeenSpan:
    (found,) = [each for each in spans if each.name == name]
    return found


async def test_one_trace_leads_from_create_to_the_webhook(
    service: Service, launch: Launch, collector: Collector, receiver: Receiver
) -> None:
    settings = {**SETTINGS, "otlp_url": collector.url, "otlp_headers": "x-api-key=of%20collector"}
    api = await launch(ApiProcess(service.environment, **settings))
    worker = await launch(WorkerProcess(service.environment, **settings))
    service.stack.relay.target = api.url
    client = client_of(service, api)
    await make_webhook(client, receiver)
    created = await create(client)
    await client.post_file(created.document, PHOTO)
    delivered = await receiver.wait_for(created.data["id"], "attachment.ready")
    await client.request("GET", "/api/v2/attachments?filter[task_id]=77001")
    await collector.wait_for(
        lambda each: each.attributes.get("attachments.webhook_event") == "attachment.ready"
    )
    assert await worker.stop() == 0
    assert await api.stop() == 0

    spans = collector.of(TRACE)
    top = "POST /api/v2/attachments"
    process = ["caller", top, f"send {QUEUE}", f"process {QUEUE}"]
    paths = {each.name: path_to(each, spans) for each in spans if each.name != "POST"}
    assert paths == {
        top: ["caller"],
        "new_attachments.create": ["caller", top],
        f"send {QUEUE}": ["caller", top],
        f"process {QUEUE}": process[:-1],
        "lifecycle.claim": process,
        "queued": process,
        "read": process,
        "S3/GetObject": [*process, "read"],
        "sniff": process,
        "decoder_wait": process,
        "decode": process,
        "write": process,
        "lifecycle.announce_thumbnail": [*process, "write"],
        "S3/PutObject": [*process, "write"],
        "commit": process,
        "lifecycle.finish": [*process, "commit"],
    }
    kinds = {each.name: (each.service, each.kind) for each in spans}
    assert kinds[top] == ("attachments-api", "server")
    assert kinds[f"send {QUEUE}"] == ("attachments-api", "producer")
    assert kinds[f"process {QUEUE}"] == ("attachments-worker", "consumer")
    assert kinds["lifecycle.claim"] == ("attachments-worker", "client")
    assert kinds["decode"] == ("attachments-worker", "internal")
    assert all(each.ended_at >= each.started_at for each in spans)
    assert not any(each.failed for each in spans)

    processed = only(spans, f"process {QUEUE}").attributes
    assert processed["attachments.state"] == "ready"
    assert processed["attachments.attempt_result"] == "ended"
    assert processed["attachments.size"] == len(PHOTO)
    assert str(processed["attachments.id"]) == created.data["id"]
    assert only(spans, top).attributes["http.response.status_code"] == 201
    assert only(spans, "lifecycle.finish").attributes["db.system.name"] == "postgresql"

    posts = [each for each in spans if each.name == "POST"]
    assert [each.attributes["attachments.webhook_event"] for each in posts] == [
        "attachment.uploaded",
        "attachment.ready",
    ]
    assert all(path_to(each, spans) == ["caller", top] for each in posts)
    # The webhook's header lets the receiver continue the trace.
    assert delivered.headers["traceparent"] == f"00-{TRACE}-{posts[1].span_id}-01"

    # The store's event started another trace. The span that sends the wake-up links to this trace.
    (cause,) = only(spans, f"send {QUEUE}").links
    (event,) = [each for each in collector.spans if each.span_id == cause]
    assert event.name == "POST /events/s3"
    assert event.trace_id != TRACE

    assert named(worker.log(), "processed")[0]["trace_id"] == TRACE
    assert {each["trace_id"] for each in named(api.log(), "request")} >= {TRACE, event.trace_id}

    assert collector.headers["x-api-key"] == "of collector"
    secret = service.settings.files_secret
    assert secret is not None
    for text in (
        "secret-name",
        "77001",
        "/hook",
        client.token,
        service.environment["AWS_SECRET_ACCESS_KEY"],
        secret.get_secret_value(),
        receiver.secret,
        *(token.get_secret_value() for token in service.settings.events_tokens),
    ):
        assert text.encode() not in collector.raw


async def test_the_trace_of_an_event_that_names_one_leads_to_the_worker(
    service: Service, launch: Launch, collector: Collector, receiver: Receiver
) -> None:
    settings = {**SETTINGS, "otlp_url": collector.url}
    api = await launch(ApiProcess(service.environment, **settings))
    worker = await launch(WorkerProcess(service.environment, **settings))
    service.stack.relay.target = None
    client = client_of(service, api)
    await make_webhook(client, receiver, events=["attachment.ready"])
    created = await create(client)
    await client.post_file(created.document, PHOTO)
    key = (await service.row(created.data["id"])).key
    service.client.base_url = api.url
    headers = {
        "Authorization": f"Bearer {EVENTS_TOKEN}",
        "traceparent": f"00-{OTHER_TRACE}-{OTHER_CALLER}-01",
    }
    answer = await send(service, message(record(key)), headers)
    assert answer.document["meta"]["recorded"] == 1
    delivered = await receiver.wait_for(created.data["id"], "attachment.ready")
    assert await worker.stop() == 0
    assert await api.stop() == 0
    process = only(collector.spans, f"process {QUEUE}")
    assert process.trace_id == OTHER_TRACE
    spans = collector.of(OTHER_TRACE)
    event = [OTHER_CALLER, "POST /events/s3"]
    assert path_to(process, spans) == [*event, f"send {QUEUE}"]
    post = only(spans, "POST")
    assert post.attributes["attachments.webhook_event"] == "attachment.ready"
    assert path_to(post, spans) == event
    assert delivered.headers["traceparent"] == f"00-{OTHER_TRACE}-{post.span_id}-01"


async def test_an_upload_whose_wake_up_was_lost_stays_in_its_trace(
    service: Service, launch: Launch, collector: Collector
) -> None:
    closed = f"redis://127.0.0.1:{choose_port()}/0"
    quick = {"otlp_url": collector.url, "publish_grace": "0.1", "sweep_interval": "0.2"}
    api = await launch(ApiProcess(service.environment, **quick, broker_url=closed))
    worker = await launch(WorkerProcess(service.environment, **quick))
    service.stack.relay.target = api.url
    client = client_of(service, api)
    created = await create(client)
    await client.post_file(created.document, PHOTO)
    await client.settled(created.data["id"])
    assert await worker.stop() == 0
    assert await api.stop() == 0
    spans = collector.of(TRACE)
    swept = only(spans, "process upload of the sweep")
    assert path_to(swept, spans) == ["caller", "POST /api/v2/attachments"]
    assert path_to(only(spans, "decode"), spans)[-1] == swept.name
    lost = only(spans, f"send {QUEUE}")
    assert lost.failed
    assert lost.message == ""
    assert lost.events == 0


async def test_what_a_caller_does_not_sample_is_not_exported(
    service: Service, launch: Launch, collector: Collector
) -> None:
    api = await launch(ApiProcess(service.environment, otlp_url=collector.url))
    client = client_of(service, api)
    await create(client, traceparent=f"00-{TRACE}-{CALLER}-00")
    await client.request("GET", "/health/ready")
    await client.request("GET", "/nowhere", headers={"traceparent": "00-nonsense-01"})
    assert await api.stop() == 0
    assert collector.of(TRACE) == []
    names = {each.name for each in collector.spans if each.kind == "server"}
    # Without a route, a span is named only by the method. Health checks have no span.
    assert names == {"GET"}


async def test_the_share_of_new_traces_is_a_setting(
    service: Service, launch: Launch, collector: Collector
) -> None:
    settings = {"otlp_url": f"{collector.url}/v1/traces", "traces_ratio": "0"}
    api = await launch(ApiProcess(service.environment, **settings))
    client = client_of(service, api)
    await client.request("GET", "/api/v2/attachments")
    await create(client)
    assert await api.stop() == 0
    assert {each.trace_id for each in collector.spans} == {TRACE}
