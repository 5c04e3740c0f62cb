"""Shared parts of the tests of faults: queries of rows in `attachments` and of objects in the
store.
"""

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
from shared.states import State
from shared.storage import Storage
from shared.styles import named_keys, shown_thumbnails
from tests.data import images
from tests.support.decoders import find_decoders
from tests.support.objects import content
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess

SOON = {"sweep_interval": "0.2"}
PHOTO = images.encode(images.noise(700, 500), "JPEG")


def closed_port() -> int:
    """Return a TCP port on which no process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def changed(changes: str, module: str) -> Sequence[str]:
    """Return arguments with which Python runs the code `changes`, then a module of the service."""
    return ("-c", f"{changes}\nimport runpy\nrunpy.run_module({module!r}, run_name='__main__')")


async def reaches(
    service: Service,
    attachment_id: str | int,
    *states: State,
    attempt: int | None = None,
    within_s: float = 30,
) -> Attachment:
    """Wait until an attachment is in one of these states, and return its row.

    If `attempt` is given, the row must also have this attempt number.
    """

    async def reached() -> Attachment | None:
        row = await service.row(attachment_id)
        right = row.state in states and attempt in (None, row.attempt)
        return row if right else None

    found: Attachment = await until(reached, within_s=within_s)
    return found


async def posted(service: Service) -> tuple[Attachment, bytes]:
    """Upload a photo, and return its row and the event that the store sent.

    The relay does not deliver this event or later events.
    """
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
    """Set the due time of a row to now, so that the next sweep processes the row."""
    await service.execute("UPDATE attachments SET due_at = now() WHERE id = $1", int(attachment_id))


async def is_whole(
    service: Service, storage: Storage, attachment_id: str | int, body: bytes
) -> None:
    """Assert that an attachment is ready, and that its row and its thumbnail describe exactly this
    file.
    """
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
    """List the keys of all objects in the store under a prefix."""
    answer: Any = await storage._client.list_objects_v2(Bucket=storage.bucket, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


async def no_orphans(service: Service, storage: Storage, attachment_id: str | int) -> None:
    """Assert that the store has the original, all thumbnails that the row shows, and no others.

    A thumbnail that the row names but does not show may be stored, too.
    """
    row = await service.row(attachment_id)
    found = set(await stored_keys(storage, row.key.partition("/original/")[0] + "/"))
    assert row.key in found
    assert found <= {row.key, *named_keys(row).values()}
    assert {each.key for each in shown_thumbnails(row).values()} <= found


def decoders(worker: WorkerProcess) -> list[psutil.Process]:
    """Find the decoders of a worker, spare decoders included."""
    return find_decoders(worker.pid)


def processed(worker: WorkerProcess) -> Counter[str]:
    """Count how often a worker has logged each attachment id as processed."""
    lines = [line for line in worker.log().splitlines() if '"processed"' in line]
    return Counter(str(json.loads(line)["attachment"]) for line in lines)
