"""Duplicate, late and false events: the service asks the store, and uses the store's answer."""

from typing import Any

import pytest

from shared.states import State
from tests.support.bad_events import IGNORED, every
from tests.support.dialects import BATCHING, CEPH, DIALECTS, ORDERED, UNORDERED, Dialect
from tests.support.events import NO_EFFECT, RECORDED, Target, new_row, post
from tests.support.service import Service, until
from tests.support.stack import BUCKET


@every(56)
async def test_ten_duplicates_have_one_effect(shared: Service, dialect: Dialect) -> None:
    row = await new_row(shared)
    sent = dialect.make_event(BUCKET, row.key, etag="e1", sequencer="0A")
    metas = [await post(shared, dialect, sent) for _ in range(10)]
    assert metas == [RECORDED] + [NO_EFFECT] * 9
    assert (await shared.row(row.id)).revision == 1


@every(56, BATCHING)
async def test_ten_duplicates_in_one_message_have_one_effect(
    shared: Service, dialect: Dialect
) -> None:
    row = await new_row(shared)
    sent = dialect.make_event(BUCKET, row.key, etag="e1", sequencer="0A")
    assert (await post(shared, dialect, *[sent] * 10))["recorded"] == 1
    assert (await shared.row(row.id)).revision == 1


@every(56)
@every(56, name="other")
async def test_a_duplicate_by_another_way_has_no_effect(
    shared: Service, dialect: Dialect, other: Dialect
) -> None:
    row = await new_row(shared)
    item: dict[str, Any] = {"etag": "e1", "version_id": "v1", "sequencer": "0A"}
    assert await post(shared, dialect, dialect.make_event(BUCKET, row.key, **item)) == RECORDED
    assert await post(shared, other, other.make_event(BUCKET, row.key, **item)) == NO_EFFECT
    assert (await shared.row(row.id)).revision == 1


@every(57, ORDERED)
@pytest.mark.parametrize(
    ("known", "late"),
    [("0B", "0A"), ("0b", "0A"), ("0B", "0AFF"), ("2", "1FFFFFFF"), ("10", "1"), ("1", "10000")],
)
async def test_an_older_sequencer_that_comes_late_changes_nothing(
    shared: Service, dialect: Dialect, known: str, late: str
) -> None:
    row = await new_row(shared)
    await post(shared, dialect, dialect.make_event(BUCKET, row.key, etag="new", sequencer=known))
    before = await shared.row(row.id)
    sent = dialect.make_event(BUCKET, row.key, etag="old", sequencer=late)
    assert await post(shared, dialect, sent) == NO_EFFECT
    assert await shared.row(row.id) == before


@every(57, ORDERED)
@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_a_newer_sequencer_counts_that_comes_without_an_etag(
    shared: Service, dialect: Dialect, state: State
) -> None:
    row = await new_row(shared)
    first = dialect.make_event(BUCKET, row.key, etag="e1", sequencer="0A")
    assert await post(shared, dialect, first) == RECORDED
    await shared.execute("UPDATE attachments SET state = $2 WHERE id = $1", row.id, state)
    newer = dialect.make_event(BUCKET, row.key, sequencer="0B")
    assert await post(shared, dialect, newer) == RECORDED
    after = await shared.row(row.id)
    assert (after.revision, after.sequencer) == (2, "0B")
    for repeated in (newer, first):
        assert await post(shared, dialect, repeated) == NO_EFFECT
    assert await shared.row(row.id) == after


@every(57, UNORDERED)
async def test_invalid_sequencers_are_never_compared(shared: Service, dialect: Dialect) -> None:
    row = await new_row(shared)
    for number, sequencer in enumerate(("FF", "0A", "FE", "0B"), 1):
        sent = dialect.make_event(BUCKET, row.key, etag=f"e{number}", sequencer=sequencer)
        assert await post(shared, dialect, sent) == RECORDED
        after = await shared.row(row.id)
        assert (after.revision, after.etag, after.sequencer) == (number, f"e{number}", None)


LIES: dict[str, dict[str, Any]] = {
    "row57-orders-nothing": {"etag": "of-another", "sequencer": "FFFFFFFFFFFFFFFFFFFF"},
    "row58-nothing": {},
    "row58-nulls": {"etag": None, "version_id": None, "sequencer": None},
    "row58-empty": {"etag": "", "version_id": "", "sequencer": ""},
    "row58-no-sequencer": {"etag": "wrong"},
    "row60-wrong-size": {"etag": "wrong", "size": 10**15, "sequencer": "0A"},
    "row60-negative-size": {"size": -1, "sequencer": "0A"},
    "row60-wrong-types": {"etag": 5, "size": "x", "sequencer": []},
}


@pytest.mark.parametrize("case", LIES)
async def test_the_stores_answer_wins(working: Service, case: str) -> None:
    working.stack.relay.target = None  # the store's own events are lost from now on
    rows = {}
    for dialect in DIALECTS:
        attachment_id = await working.client.upload(b"what the store has", "a.txt")
        rows[dialect] = await working.row(attachment_id)
        assert rows[dialect].state == "pending"
        await post(working, dialect, dialect.make_event(BUCKET, rows[dialect].key, **LIES[case]))
    for dialect, row in rows.items():
        resource = await working.client.settled(row.id)
        after = await working.row(row.id)
        assert resource["meta"]["state"] == "ready", dialect.name
        assert after.size == 18, dialect.name
        assert (after.content_type or "").startswith("text/plain"), dialect.name
        assert after.etag not in (None, "wrong", "of-another"), dialect.name


@every(58)
async def test_a_vague_event_of_a_finished_upload_leads_to_a_check_of_the_store(
    shared: Service, dialect: Dialect
) -> None:
    row = await new_row(shared)
    await post(shared, dialect, dialect.make_event(BUCKET, row.key, etag="e1"))
    await shared.execute(
        "UPDATE attachments SET state = 'ready', due_at = NULL WHERE id = $1", row.id
    )
    before = await shared.row(row.id)
    assert await post(shared, dialect, dialect.make_event(BUCKET, row.key)) == RECORDED
    after = await shared.row(row.id)
    assert after.due_at is not None
    assert (after.state, after.revision, after.etag) == ("ready", before.revision, "e1")


@pytest.mark.parametrize("there", [True, False], ids=["row59-there", "row59-not-there"])
async def test_removed_before_created_ends_with_the_stores_object(
    working: Service, there: bool
) -> None:
    working.stack.relay.target = None  # the store's own events are lost from now on
    rows = {}
    for dialect in DIALECTS:
        if there:
            row = await working.row(await working.client.upload(b"text", "a.txt"))
        else:
            row = await new_row(working)
        rows[dialect] = row
        sent = dialect.make_event(BUCKET, row.key, removed=True, sequencer="0B")
        await post(working, dialect, sent)
        await post(working, dialect, dialect.make_event(BUCKET, row.key, etag="e1", sequencer="0A"))
    for dialect, row in rows.items():
        resource = await working.client.settled(row.id)
        if there:
            assert resource["meta"]["state"] == "ready", dialect.name
            assert resource["attributes"]["size"] == 4
        else:
            assert resource["meta"]["state"] == "failed", dialect.name
            assert resource["meta"]["reason"]["code"] == "missing"


async def test_row59_a_multipart_upload_that_has_only_begun_is_no_object_yet(
    working: Service,
) -> None:
    created = await working.client.create("a.txt")
    row = await working.row(created["data"]["id"])
    # Ceph sends this event as if a file had been uploaded, although no object exists yet.
    assert (await post(working, CEPH, CEPH.make_event(BUCKET, row.key, etag="", size=0)))[
        "recorded"
    ] == 1

    async def asked() -> bool:
        return (await working.row(row.id)).state not in ("uploaded", "processing")

    await until(asked, within_s=30)
    status, body = await working.client.post_file(created, b"text")
    assert status == 201, body

    async def ready() -> bool:
        return (await working.row(row.id)).state == "ready"

    await until(ready, within_s=30)


BAD_RECORDS: list[Any] = [
    None,
    5,
    "x",
    [],
    {},
    {"eventName": None},
    {"eventName": "ObjectCreated:Put"},
]


@every(61, BATCHING)
async def test_a_bad_record_among_good_is_quarantined(shared: Service, dialect: Dialect) -> None:
    rows = [await new_row(shared) for _ in range(2)]
    good = [dialect.make_event(BUCKET, row.key, etag="e1") for row in rows]
    for bad in BAD_RECORDS:
        await shared.execute("UPDATE attachments SET state = 'pending', etag = NULL")
        await shared.execute("TRUNCATE dead_letters")
        for sent in ((good[0], bad, good[1]), (bad, *good), (*good, bad)):
            document = dialect.message(*sent)
            meta = await post(shared, dialect, *sent)
            assert meta["unreadable"] == 1, document
        assert [(await shared.row(row.id)).state for row in rows] == ["uploaded"] * 2
        # The records were sent in three messages, in different orders. Each whole message is stored
        # as one dead letter.
        assert await shared.database.fetchval("SELECT count(*) FROM dead_letters") == 3


@every(53)
async def test_a_key_of_thousands_of_digits_is_ignored(untouched: Target, dialect: Dialect) -> None:
    key = f"attachments/files/{'/'.join(['123'] * 1700)}/original/a.png"
    counts = await post(untouched.service, dialect, dialect.make_event(BUCKET, key, etag="e1"))
    assert counts == IGNORED
