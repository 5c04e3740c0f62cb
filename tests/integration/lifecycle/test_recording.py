"""The SQL statements that record upload events: order, duplicates, unusual rows."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from shared import attachments
from shared.due import Duty
from shared.facts import Facts
from shared.lifecycle import Outcome, Recorded, WakeUp
from shared.states import EndState, State
from tests.support.lifecycle import GRACE_S, Table, event


async def test_an_event_makes_a_pending_attachment_uploaded(table: Table) -> None:
    row = await table.create()
    (woken,) = await table.record(event(row, "a", version_id="v1", sequencer="10"))
    after = await table.row(row)
    assert woken == WakeUp(attachment_id=row.id, organization_id=1, revision=1)
    assert (after.state, after.revision, after.claimed_revision) == ("uploaded", 1, 0)
    assert (after.etag, after.version_id, after.sequencer) == ("a", "v1", "10")
    assert after.uploaded_at is not None
    due_in = await table.due_in(row)
    assert due_in is not None
    assert 0 < due_in <= GRACE_S


@pytest.mark.parametrize(
    ("known", "sent", "counts"),
    [
        ("10", "0F", False),
        ("10", "10", False),
        ("10", "11", True),
        ("10", "1", False),  # zeros are added on the right, so "1" equals "10"
        ("1", "10", False),
        ("1", "11", True),
        ("FF", "0FF0", False),
        ("9", "A", True),
        (None, "00", True),
        ("10", None, True),  # without a sequencer, an event with another etag is a new upload
    ],
)
async def test_row57_only_a_newer_sequencer_counts(
    table: Table, known: str | None, sent: str | None, counts: bool
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer=known))
    woken = await table.record(event(row, "b", sequencer=sent))
    after = await table.row(row)
    assert bool(woken) == counts
    assert (after.etag, after.revision) == (("b", 2) if counts else ("a", 1))
    if counts:
        assert after.sequencer == (sent or known)


@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_row56_an_event_of_the_object_we_know_changes_nothing(
    table: Table, state: Any
) -> None:
    row = await table.uploaded("a")
    if state != "uploaded":
        claim = await table.claim(row)
        assert claim is not None
        if state != "processing":
            assert await table.finish(claim, Outcome(state=state, etag="a"))
    before = await table.row(row)
    for _ in range(10):
        assert await table.record(event(row, "a")) == []
    assert await table.row(row) == before


@pytest.mark.parametrize("known", ["0A", None], ids=["known sequencer", "no known sequencer"])
@pytest.mark.parametrize("state", ["uploaded", "processing", "ready", "rejected"])
async def test_row57_58_a_newer_event_without_an_etag_counts(
    table: Table, state: State, known: str | None
) -> None:
    row = await table.create()
    await table.record(event(row, "a", sequencer=known))
    await table.set(row.id, f"state = '{state}'")
    sent = event(row, sequencer="0B")
    assert (await table.recorded(sent)).changed == [row.id]
    after = await table.row(row)
    assert (after.revision, after.sequencer) == (2, "0B")
    assert after.state == ("processing" if state == "processing" else "uploaded")
    for repeated in (sent, event(row, sequencer="0A"), event(row, "a", sequencer="0A")):
        assert await table.recorded(repeated) == Recorded(changed=[], woken=[])
    assert await table.row(row) == after


async def test_changed_rows_are_distinguished_from_rows_to_process_now(table: Table) -> None:
    busy, done = (await table.claimed("a")).attachment, await table.finished("a")
    new, waiting, idle = await table.create(), await table.uploaded("a"), await table.uploaded("a")
    recorded = await table.recorded(
        event(busy, "b"),
        event(done, removed=True),
        event(new, "a"),
        event(waiting, "b"),
        event(idle, "a"),
    )
    assert set(recorded.changed) == {busy.id, done.id, new.id, waiting.id}
    assert {woken.attachment_id for woken in recorded.woken} == {new.id, waiting.id}


async def test_the_same_etag_of_another_version_is_another_object(table: Table) -> None:
    row = await table.create()
    await table.record(event(row, "a", version_id="v1"))
    assert await table.record(event(row, "a", version_id="v1")) == []
    assert len(await table.record(event(row, "a", version_id="v2"))) == 1
    assert (await table.row(row)).version_id == "v2"


@pytest.mark.parametrize("state", ["failed", "expired", "pending"])
async def test_an_object_we_gave_up_on_is_taken_up_again(table: Table, state: State) -> None:
    row = await table.uploaded("a")
    await table.set(row.id, f"state = '{state}', reason = 'missing', due_at = NULL")
    (woken,) = await table.record(event(row, "a"))
    after = await table.row(row)
    assert (after.state, after.revision, after.reason) == ("uploaded", woken.revision, None)


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
@pytest.mark.parametrize("state", ["ready", "rejected"])
async def test_row58_59_a_vague_event_of_a_finished_upload_asks_the_store(
    table: Table, state: EndState, hint: dict[str, Any]
) -> None:
    row = await table.finished("a", state, facts=Facts(size=5))
    assert await table.record(event(row, **hint)) == []
    after = await table.row(row)
    assert replace(after, due_at=row.due_at) == row
    assert [due.duty for due in await table.take_due()] == [Duty.CHECK]


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
async def test_a_vague_event_before_processing_changes_nothing(
    table: Table, hint: dict[str, Any]
) -> None:
    row = await table.uploaded("a")
    before = await table.row(row)
    assert await table.record(event(row, **hint)) == []
    assert await table.row(row) == before


@pytest.mark.parametrize("hint", [{}, {"removed": True}], ids=["vague", "removed"])
async def test_a_vague_event_during_processing_makes_the_worker_read_again(
    table: Table, hint: dict[str, Any]
) -> None:
    claim = await table.claimed()
    before = await table.row(claim)
    assert await table.record(event(before, **hint)) == []
    assert await table.row(claim) == replace(before, revision=before.revision + 1)
    outcome = Outcome(state="ready", etag="a")
    assert not await table.finish(claim, outcome)
    assert await table.finish(claim, outcome, revision=before.revision + 1)


async def test_a_vague_event_is_enough_for_a_pending_row(table: Table) -> None:
    row = await table.create()
    (woken,) = await table.record(event(row))
    after = await table.row(row)
    assert (after.state, after.revision, after.etag) == ("uploaded", woken.revision, None)


async def test_row59_a_removal_wakes_nobody_but_the_sweep(table: Table) -> None:
    row = await table.create()
    assert await table.record(event(row, removed=True, sequencer="99")) == []
    after = await table.row(row)
    assert (after.state, after.revision, after.sequencer) == ("pending", 0, None)
    assert [due.duty for due in await table.take_due()] == [Duty.CHECK]


async def test_while_processing_a_newer_upload_only_raises_the_revision(table: Table) -> None:
    claim = await table.claimed("a")
    before = await table.row(claim)
    assert await table.record(event(before, "b")) == []
    after = await table.row(claim)
    assert (after.state, after.revision, after.etag) == ("processing", 2, "b")
    assert (after.claimed_revision, after.attempt) == (1, 1)
    assert after.due_at == before.due_at


async def test_an_upload_after_the_end_forgets_thumbnail_and_reason(table: Table) -> None:
    row = await table.finished("a", thumbnail_name="img.png")
    assert row.resized
    assert await table.record(event(row, "b"))
    after = await table.row(row)
    assert (after.state, after.resized, after.reason) == ("uploaded", False, None)
    assert after.thumbnail_name == "img.png"  # the old thumbnail still exists


@pytest.mark.parametrize(
    "strange",
    [
        {"bucket": "another"},
        {"key": "attachments/files/000/000/001/original/other.png"},
        {"key": "attachments/files/999/999/999/original/img.png"},
        {"key": "attachments/files/1/original/img.png"},
        {"key": "somewhere/else"},
        {"key": ""},
    ],
    ids=["bucket", "name", "id", "partition", "prefix", "empty"],
)
async def test_row52_53_events_of_foreign_objects_change_nothing(
    table: Table, strange: dict[str, str]
) -> None:
    row = await table.create()
    assert await table.record(event(row, "a", **strange)) == []
    assert await table.row(row) == row


async def test_a_name_must_be_the_one_that_was_issued(table: Table) -> None:
    row = await table.create()
    key = row.key.replace("img.png", "img.jpg")
    assert await table.record(event(row, "a", key=key)) == []


async def test_a_deleted_row_never_becomes_uploaded(table: Table) -> None:
    row = await table.create()
    assert await table.run(attachments.delete, row.id, 1, retention_s=60)
    before = await table.row(row)
    assert await table.record(event(row, "a")) == []
    assert await table.row(row) == before


async def test_row61_many_events_are_one_statement_and_the_strange_ones_are_left(
    table: Table,
) -> None:
    rows = [await table.create() for _ in range(20)]
    events = [event(row, "a") for row in rows]
    woken = await table.record(*events, event(rows[0], "a", bucket="x"))
    assert {item.attachment_id for item in woken} == {row.id for row in rows}
    assert await table.record() == []


async def test_shuffled_events_leave_the_newest(table: Table) -> None:
    row = await table.create()
    sent = [event(row, f"e{number}", sequencer=f"{number:04X}") for number in range(1, 9)] * 10
    random.Random(3).shuffle(sent)
    await asyncio.gather(*(table.record(item) for item in sent))
    after = await table.row(row)
    assert (after.etag, after.sequencer) == ("e8", "0008")
    assert after.revision <= 8
