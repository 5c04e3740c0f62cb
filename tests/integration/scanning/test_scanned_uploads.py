"""A real clamd scans every upload before any process of a worker opens it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.doctor.eicar import EICAR
from shared.storage import Storage
from tests.data import images
from tests.support.clamd import (
    EICAR_NAME,
    MARKER,
    MARKER_NAME,
    ClamdProcess,
    need_clamd,
    running_clamd,
)
from tests.support.faults import SOON, closed_port, make_due, reaches
from tests.support.metric_values import reached
from tests.support.objects import opened_storage
from tests.support.proxy import Link, Proxy, running_proxy
from tests.support.service import Client, until
from tests.support.stack import Stack
from tests.support.starting import StartService, StartWorker

need_clamd()

PHOTO = images.encode(images.noise(300, 200), "JPEG")
INFECTED_PHOTO = PHOTO + MARKER


@pytest_asyncio.fixture
async def storage(stack: Stack) -> AsyncIterator[Storage]:
    """Open the bucket of the tests."""
    async with opened_storage(stack) as opened:
        yield opened


@pytest_asyncio.fixture
async def scanner(clamd: ClamdProcess) -> AsyncIterator[Proxy]:
    """Run a proxy in front of clamd, with which a test simulates faults."""
    async with running_proxy(clamd.url) as proxy:
        yield proxy


async def status_of(client: Client, resource: Any, name: str = "url") -> int:
    """Request one of an attachment's links, and return the status of the API's answer."""
    async with client.session.get(resource["attributes"][name], allow_redirects=False) as answer:
        return answer.status


async def opened(client: Client, resource: Any, name: str = "url") -> bytes | None:
    """Return the bytes at an attachment's link, or None if the status is not 200."""
    async with client.session.get(resource["attributes"][name]) as answer:
        return await answer.read() if answer.status == 200 else None


async def test_row89_an_infected_upload_is_rejected_with_the_signature_and_never_opens(
    clamd: ClamdProcess, start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(clamd_url=clamd.url)
    worker = await start_worker(service, log_format="json", metrics_port="0")
    for body, name in ((EICAR, EICAR_NAME), (INFECTED_PHOTO, MARKER_NAME)):
        attachment_id = await service.client.upload(body, "img.jpg")
        resource = await service.client.settled(attachment_id)

        meta, attributes = resource["meta"], resource["attributes"]
        assert (meta["state"], meta["reason"]["code"]) == ("rejected", "infected")
        assert meta["scan"] == {"verdict": "infected", "signature": name}
        assert meta["checksum_sha256"] == hashlib.sha256(body).hexdigest()
        assert (attributes["size"], attributes["thumb"]) == (len(body), None)
        # No process has read the file's bytes.
        assert (attributes["content_type"], meta["width"]) == (None, None)
        assert await status_of(service.client, resource) == 404

    # The worker logs an attempt after it has stored the outcome.
    async def lines() -> list[str] | None:
        found = [line for line in worker.log().splitlines() if '"processed"' in line]
        return found if len(found) == 2 else None

    for line in await until(lines):
        assert '"scan":"infected"' in line
        assert '"sniff"' not in line
        assert '"scan":0.' in line
    assert EICAR.decode() not in worker.log()
    found = await reached(worker, {'attachments_scans_total{verdict="infected"}': 2})
    assert found.sum("attachments_scans_total") == 2
    assert found.sum("attachments_stage_seconds_count", stage="scan") == 2


async def test_a_clean_upload_opens_only_once_it_is_ready(
    scanner: Proxy, start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(clamd_url=scanner.url)
    await start_worker(service)
    scanner.hold()
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    await until(lambda: _is_true(scanner.held > 0))
    row = await reaches(service, attachment_id, "processing")
    resource = await service.client.show(attachment_id)
    assert resource["attributes"]["url"] is not None
    assert await status_of(service.client, resource) == 404
    assert "scan" not in resource["meta"]
    assert row.thumbnail_name is None

    scanner.let_go()
    resource = await service.client.settled(attachment_id)
    assert resource["meta"]["state"] == "ready"
    assert resource["meta"]["scan"] == {"verdict": "clean", "signature": None}
    assert resource["meta"]["checksum_sha256"] == hashlib.sha256(PHOTO).hexdigest()
    assert await opened(service.client, resource) == PHOTO
    assert await opened(service.client, resource, "thumb")


async def _is_true(found: bool) -> bool:
    return found


async def test_an_object_that_is_replaced_during_its_scan_is_scanned_again(
    scanner: Proxy, start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(clamd_url=scanner.url)
    await start_worker(service)
    scanner.hold()
    created = await service.client.create("img.jpg")
    assert (await service.client.post_file(created, PHOTO))[0] == 201
    await until(lambda: _is_true(scanner.held > 0))
    assert (await service.client.post_file(created, INFECTED_PHOTO))[0] == 201
    scanner.let_go()
    resource = await service.client.settled(created["data"]["id"])
    assert resource["meta"]["reason"]["code"] == "infected"
    row = await service.row(created["data"]["id"])
    assert row.etag == hashlib.md5(INFECTED_PHOTO, usedforsecurity=False).hexdigest()
    assert row.thumbnail_name is None


async def test_a_ready_file_that_is_replaced_by_an_infected_one_does_not_open(
    clamd: ClamdProcess,
    start_service: StartService,
    start_worker: StartWorker,
    storage: Storage,
) -> None:
    service = await start_service(clamd_url=clamd.url, pending_check="3600")
    await start_worker(service)
    created = await service.client.create("img.jpg")
    assert (await service.client.post_file(created, PHOTO))[0] == 201
    resource = await service.client.settled(created["data"]["id"])
    assert await opened(service.client, resource) == PHOTO
    relay, target = service.stack.relay, service.stack.relay.target
    relay.target = None  # the API gets no event of the replacement
    assert (await service.client.post_file(created, INFECTED_PHOTO))[0] == 201
    assert await opened(service.client, resource) is None
    # Now the service learns of the replacement. The worker scans the new file, and removes the
    # thumbnail of the old file.
    relay.target = target
    row = await service.row(created["data"]["id"])
    assert row.thumbnail_key is not None
    await service.execute(
        "UPDATE attachments SET state = 'uploaded', revision = revision + 1, due_at = now()"
        " WHERE id = $1",
        row.id,
    )
    row = await reaches(service, created["data"]["id"], "rejected")
    assert (row.reason, row.resized) == ("infected", False)
    assert await opened(service.client, resource) is None
    assert await opened(service.client, resource, "thumb") is None


@pytest.mark.parametrize("optional", ["false", "true"])
async def test_row109_a_file_above_the_scanners_limit_is_released_only_by_setting(
    clamd: ClamdProcess, start_service: StartService, start_worker: StartWorker, optional: str
) -> None:
    service = await start_service(
        clamd_url=clamd.url, scan_max_size="20000", scan_optional=optional
    )
    await start_worker(service)
    exact, above = PHOTO[:20_000].ljust(20_000, b"\0"), PHOTO.ljust(20_001, b"\0")
    assert len(above) > 20_000
    scanned = await service.client.settled(await service.client.upload(exact, "img.jpg"))
    skipped = await service.client.settled(await service.client.upload(above, "img.jpg"))

    assert scanned["meta"]["scan"]["verdict"] == "clean"
    assert skipped["meta"]["reason"]["code"] == "unscannable"
    assert skipped["meta"]["scan"] == {"verdict": "unscannable", "signature": None}
    released = optional == "true"
    assert skipped["meta"]["state"] == ("ready" if released else "rejected")
    assert await opened(service.client, skipped) == (above if released else None)
    assert skipped["attributes"]["content_type"] == ("image/jpeg" if released else None)


async def test_what_clamd_cannot_scan_is_not_released(
    tmp_path_factory: pytest.TempPathFactory, start_service: StartService, start_worker: StartWorker
) -> None:
    async with running_clamd(tmp_path_factory.mktemp("small"), StreamMaxLength="10K") as small:
        service = await start_service(clamd_url=small.url)
        await start_worker(service)
        resource = await service.client.settled(await service.client.upload(PHOTO, "img.jpg"))
        assert resource["meta"]["state"] == "rejected"
        assert resource["meta"]["reason"]["code"] == "unscannable"
        assert await opened(service.client, resource) is None


@pytest.mark.parametrize("optional", ["false", "true"])
async def test_without_a_scanner_an_upload_is_tried_again_and_released_only_by_setting(
    start_service: StartService, start_worker: StartWorker, optional: str
) -> None:
    service = await start_service(
        clamd_url=f"tcp://127.0.0.1:{closed_port()}", scan_optional=optional
    )
    await start_worker(service, attempts="2", **SOON)
    attachment_id = await service.client.upload(PHOTO, "img.jpg")
    row = await reaches(service, attachment_id, "uploaded", attempt=1)
    assert row.reason == "scanner_unavailable"
    assert await opened(service.client, await service.client.show(attachment_id)) is None
    await make_due(service, attachment_id)
    resource = await service.client.settled(attachment_id)
    meta = resource["meta"]
    assert meta["reason"]["code"] == "scanner_unavailable"
    if optional == "true":
        assert (meta["state"], resource["attributes"]["resized"]) == ("ready", True)
        assert meta["scan"] == {"verdict": "unscanned", "signature": None}
        assert await opened(service.client, resource) == PHOTO
    else:
        assert (meta["state"], resource["attributes"]["resized"]) == ("failed", False)
        assert "scan" not in meta
        assert await opened(service.client, resource) is None


async def test_an_empty_upload_needs_no_scanner(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(clamd_url=f"tcp://127.0.0.1:{closed_port()}")
    await start_worker(service)
    resource = await service.client.settled(await service.client.upload(b"", "a.txt"))
    assert (resource["meta"]["state"], resource["attributes"]["size"]) == ("ready", 0)
    assert resource["meta"]["scan"]["verdict"] == "clean"


async def test_an_upload_above_its_own_limit_is_not_sent_to_the_scanner(
    scanner: Proxy, start_service: StartService, start_worker: StartWorker, storage: Storage
) -> None:
    service = await start_service(clamd_url=scanner.url, max_size="1000")
    await start_worker(service)
    commands: set[bytes] = set()

    def record(link: Link, _data: bytes) -> bool:
        commands.add(link.head[:10].partition(b"\0")[0])
        return False

    scanner.lose(record)
    created = await service.client.create("img.jpg")
    row = await service.row(created["data"]["id"])
    await storage.write(row.key, PHOTO, content_type="image/jpeg")
    resource = await service.client.settled(row.id)
    assert resource["meta"]["reason"]["code"] == "too_large"
    assert commands <= {b"zPING"}


async def test_slow_scans_of_one_organization_do_not_delay_another_one(
    tmp_path_factory: pytest.TempPathFactory, start_service: StartService, start_worker: StartWorker
) -> None:
    patient = {"CommandReadTimeout": "300"}
    async with (
        running_clamd(tmp_path_factory.mktemp("patient"), **patient) as clamd,
        running_proxy(clamd.url) as proxy,
    ):
        service = await start_service(clamd_url=proxy.url)
        await start_worker(service, scan_concurrency="3")
        another = await service.organization()
        # On these connections, the proxy drops the rest of a file, so clamd waits for it.
        held: set[Link] = set()

        def is_slow(link: Link, _data: bytes) -> bool:
            if b"SLOW" in link.head:
                held.add(link)
            return b"SLOW" in link.head

        proxy.lose(is_slow)
        slow = await asyncio.gather(
            *(service.client.upload(b"SLOW" + bytes(100), "a.bin") for _ in range(12))
        )
        await until(lambda: _is_true(len(held) == 2))
        for _ in range(5):
            resource = await another.settled(await another.upload(PHOTO, "img.jpg"))
            assert resource["meta"]["scan"]["verdict"] == "clean"
        states = [(await service.row(each)).state for each in slow]
        assert set(states) <= {"uploaded", "processing"}
        assert len(held) == 2
        proxy.cut()
