"""`attachments doctor` reports what is wrong with an API, with events, or with workers."""

import os

import pytest

from tests.support.consumer import ConsumerProcess
from tests.support.doctor import environment, examine
from tests.support.doctor_runs import leftovers
from tests.support.moto_server import CREDENTIALS, Moto
from tests.support.service import Service
from tests.support.starting import StartService, StartWorker


async def test_an_api_that_is_down_is_named_with_its_address(
    working: Service, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    examined = await examine(environment(working, api_url=url))
    assert examined.named("failed") == ["api"]
    assert url in examined["api"]["found"]
    assert examined.named("skipped") == ["links"]


async def test_another_server_at_the_apis_address_is_not_taken_for_it(working: Service) -> None:
    examined = await examine(environment(working, api_url=working.stack.seaweedfs.url))
    assert examined["api"]["status"] == "failed"
    assert "not as our API does" in examined["api"]["found"]


async def test_addresses_that_are_signed_with_another_secret_do_not_open(working: Service) -> None:
    examined = await examine(environment(working, files_secret="a secret that the API has not"))
    assert examined.named("failed") == ["links"]
    assert "404" in examined["links"]["found"]
    assert "ATTACHMENTS_FILES_SECRET" in examined["links"]["mend"]
    assert await leftovers(working) == []


async def test_without_a_worker_the_event_arrives_and_nobody_takes_the_upload(
    service: Service,
) -> None:
    examined = await examine(environment(service), wait=6)
    assert examined.named("failed") == ["worker", "thumbnail"]
    assert examined["event"]["status"] == "ok"
    assert "no worker took the upload" in examined["thumbnail"]["found"]
    assert "attachments worker" in examined["thumbnail"]["mend"]
    assert await leftovers(service) == []


async def test_a_lost_event_fails_although_the_sweep_finds_the_upload(
    service: Service, start_worker: StartWorker
) -> None:
    await start_worker(service, sweep_interval="0.3")
    service.stack.relay.target = None
    examined = await examine(environment(service), wait=8)
    assert examined.named("failed") == ["event"]
    assert "no event came within 8 s" in examined["event"]["found"]
    assert "the sweep found the upload" in examined["event"]["found"]
    assert f"{service.base_url}/events/s3" in examined["event"]["mend"]
    assert "the API accepts events" in examined["event"]["mend"]
    assert examined["thumbnail"]["status"] == "ok"
    assert await leftovers(service) == []


async def test_an_event_through_sqs_is_reported_so(
    start_service: StartService, start_worker: StartWorker, moto: Moto
) -> None:
    bucket, inbox = await moto.make_bucket(), await moto.make_inbox()
    await moto.wire_sqs(bucket, inbox)
    service = await start_service(**moto.settings(inbox, bucket), events_tokens="")
    variables = {**environment(service), **CREDENTIALS}
    await start_worker(service)

    lost = await examine(variables, wait=1)
    assert "event" in lost.named("failed")
    assert "`attachments consume` runs" in lost["event"]["mend"]
    assert "ATTACHMENTS_EVENTS_TOKENS" not in lost["event"]["mend"]

    consumer = ConsumerProcess({"PATH": os.environ["PATH"], **variables})
    try:
        await consumer.start()
        examined = await examine(variables)
    finally:
        consumer.close()
    assert examined["event"]["status"] == "ok"
    assert "by sqs as aws" in examined["event"]["found"]


async def test_an_event_lost_by_a_wrong_token_is_reported(service: Service) -> None:
    service.stack.relay.target = None
    variables = environment(service, events_tokens="a-token-that-the-api-has-not")
    examined = await examine(variables, wait=1)
    assert "does not take the token" in examined["event"]["mend"]
    assert "a-token-that-the-api-has-not" not in str(examined.document)

    examined = await examine(environment(service, events_tokens=""), wait=1)
    assert "ATTACHMENTS_EVENTS_TOKENS is not set" in examined["event"]["mend"]


async def test_an_event_that_comes_twice_is_a_warning(
    working: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, once = working.stack.relay, working.stack.relay.post

    async def twice(body: bytes) -> int:
        await once(body)
        return await once(body)

    monkeypatch.setattr(relay, "post", twice)
    examined = await examine(environment(working))
    assert examined.named("warning") == ["event"]
    assert "2 times" in examined["event"]["found"]
    assert await leftovers(working) == []


async def test_a_failed_probe_is_reported_with_its_reason(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service, max_size="100")
    examined = await examine(environment(service), wait=30)
    assert examined.named("failed") == ["thumbnail"]
    assert "rejected: The object is larger than an upload may be." in examined["thumbnail"]["found"]
    assert examined["links"]["status"] == "ok"
    assert await leftovers(service) == []
