"""Shared parts of the tests of faults, and their queries of rows and of the store."""

import hashlib
import io
import json
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
from PIL import Image

from shared.attachments import Attachment
from shared.storage import Storage
from tests.data import images
from tests.support.decoders import find_decoders
from tests.support.objects import content
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess

SOON = {"sweep_interval": "0.2"}
PHOTO = images.encode(images.noise(700, 500), "JPEG")


def closed_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def changed(changes: str, module: str) -> Sequence[str]:
    """Give Python's arguments that make some changes first and then run a module of the service."""
    return ("-c", f"{changes}\nimport runpy\nrunpy.run_module({module!r}, run_name='__main__')")


async def reaches(
    service: Service,
    attachment_id: str | int,
    *states: str,
    attempt: int | None = None,
    within_s: float = 30,
) -> Attachment:
    """Wait until a row is in one of these states, and at that attempt."""

    async def reached() -> Attachment | None:
        row = await service.row(attachment_id)
        right = row.state in states and attempt in (None, row.attempt)
        return row if right else None

    found: Attachment = await until(reached, within_s=within_s)
    return found


async def posted(service: Service) -> tuple[Attachment, bytes]:
    """Upload a photo; returns the row, and the event that was lost. No event comes from then on."""
    relay = service.stack.relay
    relay.target, before = None, len(relay.seen)
    created = await service.client.create("img.jpg")
    await service.client.post_file(created, PHOTO)
    row = await service.row(created["data"]["id"])

    async def sent() -> bytes | None:
        bodies = [json.dumps(item).encode() for item in relay.seen[before:]]
        found = [body for body in bodies if row.key.encode() in body]
        return found[0] if found else None

    event: bytes = await until(sent)
    return row, event


async def make_due(service: Service, attachment_id: str | int) -> None:
    """Let the time come at which the sweep looks at a row."""
    await service.execute("UPDATE attachments SET due_at = now() WHERE id = $1", int(attachment_id))


async def is_whole(
    service: Service, storage: Storage, attachment_id: str | int, body: bytes
) -> None:
    """Assert that a row is ready, and that it and its thumbnail are those of this very file."""
    row = await service.row(attachment_id)
    assert (row.state, row.reason, row.resized) == ("ready", None, True)
    assert row.size == len(body)
    assert row.checksum_sha256 == hashlib.sha256(body).hexdigest()
    assert row.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert row.thumbnail_key is not None
    thumbnail = await content(storage, row.thumbnail_key)
    image = Image.open(io.BytesIO(thumbnail))
    original = Image.open(io.BytesIO(body))
    assert (row.width, row.height) == original.size
    assert abs(image.width / image.height - original.width / original.height) < 0.02


async def stored_keys(storage: Storage, prefix: str) -> list[str]:
    """List what lies in the store under a prefix."""
    answer: Any = await storage._client.list_objects_v2(Bucket=storage.bucket, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


async def no_orphans(service: Service, storage: Storage, attachment_id: str | int) -> None:
    """Assert that the store has an attachment's original and nothing its row does not name."""
    row = await service.row(attachment_id)
    found = set(await stored_keys(storage, row.key.partition("/original/")[0] + "/"))
    assert row.key in found
    assert found <= {row.key, row.thumbnail_key}
    assert not row.resized or row.thumbnail_key in found


def decoders(worker: WorkerProcess) -> list[psutil.Process]:
    """Find the decoders of a worker, spare ones included."""
    return find_decoders(worker.pid)


def processed(worker: WorkerProcess) -> Counter[str]:
    """Count by id what a worker says to have processed."""
    lines = [line for line in worker.log().splitlines() if '"processed"' in line]
    return Counter(str(json.loads(line)["attachment"]) for line in lines)
