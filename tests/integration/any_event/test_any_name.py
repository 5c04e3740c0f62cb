"""File names: an event in any dialect finds the right row for any file name."""

from typing import Any

from hypothesis import example, given, settings

from shared.attachments import Attachment
from shared.keys import parse_key
from shared.reserved import Reserved
from tests.support.any_event import thorough
from tests.support.dialects import DIALECTS
from tests.support.events import NO_EFFECT, RECORDED, new_row, post
from tests.support.messages import NAMES
from tests.support.service import Service, until
from tests.support.stack import BUCKET


@settings(thorough, max_examples=25)
@given(name=NAMES.filter(lambda name: not Reserved().has_name(name)))
@example(name="a b+c%2Bd%252F&e=f.png")
@example(name="../../thumb/\u202egnp.dat")
@example(name="${filename}")
@example(name="ä" * 255)
async def test_any_name_comes_back_from_the_store_in_every_dialect(
    service: Service, name: str
) -> None:
    before, service.stack.relay.target = service.stack.relay.target, service.base_url
    try:
        await come_back(service, name)
    finally:
        service.stack.relay.target = before


async def come_back(service: Service, name: str) -> None:
    """Upload a file with this name, and send an event about it in every dialect."""
    other = await new_row(service)
    created = await service.client.create(name)
    attachment_id = int(created["data"]["id"])
    status, body = await service.client.post_file(created, b"content")
    assert status == 201, body
    recorded = await until(lambda: uploaded(service, attachment_id))

    # The store itself has made the next events, and has encoded the key. Below, the test makes
    # events in the formats of other stores.
    reported_by_store = [
        event["key"].removeprefix(f"/buckets/{BUCKET}/")
        for event in service.stack.relay.seen
        if event["event_type"] == "create" and event["key"].startswith(f"/buckets/{BUCKET}/")
    ]
    keys = {key for key in reported_by_store if parse_key(key) == (attachment_id, "original")}
    assert keys == {recorded.key}
    assert created["data"]["attributes"]["aws_policy"]["key"] in keys

    for number, dialect in enumerate(DIALECTS):
        item: dict[str, Any] = {"etag": recorded.etag}
        sent = dialect.make_event(BUCKET, recorded.key, **item)
        assert await post(service, dialect, sent) == NO_EFFECT, dialect.name
        item = {"etag": f"another-{number}", "sequencer": f"{number + 1:02X}"}
        assert (
            await post(service, dialect, dialect.make_event(BUCKET, recorded.key, **item))
            == RECORDED
        )
        assert (await service.row(attachment_id)).etag == item["etag"]
        recorded = await service.row(attachment_id)
    assert recorded.revision == 1 + len(DIALECTS)
    assert await service.row(other.id) == other


async def uploaded(service: Service, attachment_id: int) -> Attachment | None:
    """Return the row if the store's event is recorded, otherwise None."""
    row = await service.row(attachment_id)
    return row if row.state == "uploaded" else None
