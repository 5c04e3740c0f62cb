"""The time stamps of uploads, which are part of the addresses of files."""

from shared.attachments import Attachment
from shared.lifecycle import Outcome
from tests.support.lifecycle import Table, event


def stamp(row: Attachment) -> int:
    """Return the time stamp in the addresses of a row's files, in whole seconds."""
    assert row.uploaded_at is not None
    return int(row.uploaded_at.timestamp())


async def test_uploads_in_one_second_have_stamps_of_their_own(table: Table) -> None:
    row = await table.uploaded("a")
    stamps = [stamp(row)]
    for etag in "bcdef":
        await table.record(event(row, etag))
        stamps.append(stamp(await table.row(row)))
        await table.record(event(row, etag))
        # The second event is about the same upload.
        assert stamp(await table.row(row)) == stamps[-1]
    assert sorted(set(stamps)) == stamps

    await table.pool.execute(
        "UPDATE attachments SET uploaded_at = now() - interval '1 hour' WHERE id = $1", row.id
    )
    before = stamp(await table.row(row))
    await table.record(event(row, "g"))
    # The time stamp is at or after the time of the new upload.
    assert stamp(await table.row(row)) >= before + 3600


async def test_an_upload_whose_event_comes_after_its_outcome_has_a_stamp_of_its_own(
    table: Table,
) -> None:
    claim = await table.claimed("a")
    before = stamp(claim.attachment)
    # The outcome has another etag, because the object was replaced during processing.
    assert await table.finish(claim, Outcome(state="ready", etag="b"))
    after = stamp(await table.row(claim))
    assert after > before
    assert await table.record(event(claim.attachment, "b")) == []
    assert stamp(await table.row(claim)) == after

    # With the known etag "a", or without an etag (the object could not be read), the time stamp
    # does not change.
    for etag in ("a", None):
        claim = await table.claimed("a")
        assert await table.finish(claim, Outcome(state="failed", etag=etag))
        assert stamp(await table.row(claim)) == stamp(claim.attachment)
