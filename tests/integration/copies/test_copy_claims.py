"""The SQL statements for copies: claims, lost claims, due times and counters."""

from typing import Any

import pytest

from shared import copies, copy_claims, counting, lifecycle, older_objects
from shared.attachments import Attachment
from shared.copies import Wanted
from shared.due import take_due
from shared.lifecycle import COPY_ATTEMPTS, Claim, Outcome
from shared.notifications import UploadEvent
from tests.support.copies import PATH
from tests.support.service import Service
from tests.support.stack import BUCKET
from tests.support.starting import StartService
from worker.copying import COPY_TIMEOUT_S


async def test_a_copy_that_failed_counts_no_bytes(service: Service) -> None:
    assert (await service.client.request("GET", "/api/v2/usage")).status == 200
    row = await asked(service)

    async def used() -> Any:
        answer = await service.client.request("GET", "/api/v2/usage")
        return answer.data["attributes"]["bytes"]

    async with service.database.acquire() as connection:
        await connection.execute("UPDATE attachments SET promised_bytes = 1000")
        assert await used() == 1000
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        assert await copy_claims.fail(connection, claim, reason="copy_failed")
        failed = await service.row(row.id)
        assert (failed.state, failed.counted_bytes) == ("failed", 0)
        assert await used() == 0
        assert not any((await counting.recount(connection, row.organization_id)).values())


def wanted(key: str = "uploads/none") -> Wanted:
    """Return a request for a copy whose source object does not exist."""
    return Wanted(bucket=BUCKET, key=key, etag="e", temp_url=f"http://h/{key}")


async def asked(service: Service) -> Attachment:
    """Create an attachment, request a copy of a missing object for it, and return its row."""
    created = await service.client.create("a.png")
    row = await service.row(created["data"]["id"])
    async with service.database.acquire() as connection:
        found = await copies.ask(connection, row, wanted(), grace_s=0)
    assert found is not None
    return found


async def test_a_copy_is_claimed_by_one_and_fenced(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        claims = [
            await copy_claims.claim(connection, row.id, None, lease_s=30),
            await copy_claims.claim(connection, row.id, None, lease_s=30),
            await copy_claims.claim(connection, row.id, row.copy_attempt, lease_s=30),
        ]
        assert [claim is not None for claim in claims] == [True, False, False]
        first = claims[0]
        assert first is not None
        assert await copy_claims.renew(connection, first, lease_s=30)
        second = await copy_claims.claim(connection, row.id, first.copy_attempt, lease_s=30)
        assert second is not None
        assert not await copy_claims.renew(connection, first, lease_s=30)
        assert not await copy_claims.finish(connection, first, "e")
        assert not await copy_claims.release(connection, first, delay_s=0)
        assert not await copy_claims.fail(connection, first, reason="copy_failed")
        assert await copies.ask(connection, row, wanted("b"), grace_s=0)
        assert not await copy_claims.finish(connection, second, "e")
        third = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert third is not None
        assert third.copy_key == "b"
        assert await copy_claims.finish(connection, third, "e")
        assert await copy_claims.claim(connection, row.id, None, lease_s=30) is None


async def test_a_copy_of_a_lost_row_is_not_that_of_the_row_with_its_id(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        # Now the row belongs to another organization. The same happens if a row is lost and its id
        # is used again. The old claim must not change the new row.
        await service.execute("UPDATE attachments SET organization_id = organization_id + 1")
        before = await service.row(row.id)
        assert not await copy_claims.renew(connection, claim, lease_s=99)
        await copy_claims.postpone(connection, claim, delay_s=99)
        assert not await copy_claims.release(connection, claim, delay_s=99)
        assert not await copy_claims.finish(connection, claim, "e")
        assert not await copy_claims.fail(connection, claim, reason="copy_failed")
        assert await service.row(row.id) == before


async def test_a_claim_that_is_given_back_counts_no_attempt(service: Service) -> None:
    row = await asked(service)
    async with service.database.acquire() as connection:
        first = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert first is not None
        assert await copy_claims.release(connection, first, delay_s=0)
        assert not await copy_claims.renew(connection, first, lease_s=30)
        again = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert again is not None
        assert again.copy_attempt % COPY_ATTEMPTS == 1


async def test_the_stores_event_of_a_copy_does_not_overtake_it(service: Service) -> None:
    row = await asked(service)
    event = UploadEvent(bucket=row.bucket, key=row.key, etag="of-the-copy")
    async with service.database.acquire() as connection:
        claim = await copy_claims.claim(connection, row.id, None, lease_s=30)
        assert claim is not None
        await lifecycle.record_uploads(connection, [event], publish_grace_s=15)
        copied = await copy_claims.record(connection, claim, "of-the-copy", publish_grace_s=15)
    assert copied is not None
    assert copied.woken == []
    assert (copied.attachment.state, copied.attachment.copy_key) == ("uploaded", None)


@pytest.mark.parametrize(
    "end", ["finish", "mark_missing", "set_aside", "settle_unchanged", "given_up"]
)
async def test_a_requested_copy_is_due_when_processing_ends(service: Service, end: str) -> None:
    row = await asked(service)
    await service.execute(
        "UPDATE attachments SET state = $2, revision = 1, claimed_revision = 1, attempt = 5,"
        " due_at = now() - interval '1 minute', policy_expires_at = now() - interval '1 day',"
        " copy_revision = 1 WHERE id = $1",
        row.id,
        "ready" if end == "settle_unchanged" else "processing",
    )
    seen = await service.row(row.id)
    claim = Claim(attachment=seen)
    async with service.database.acquire() as connection:
        assert await copy_claims.claim(connection, row.id, None, lease_s=30) is None or (
            end == "settle_unchanged"
        )
        await service.execute("UPDATE attachments SET copy_attempt = 1000 WHERE id = $1", row.id)
        match end:
            case "finish":
                outcome = Outcome(state="ready", etag="e")
                await lifecycle.finish(connection, claim, outcome, revision=1, next_check_s=75)
            case "mark_missing":
                await lifecycle.mark_missing(connection, claim, revision=1, next_check_s=75)
            case "set_aside":
                await older_objects.set_aside(connection, claim, revision=1, next_check_s=75)
            case "settle_unchanged":
                await lifecycle.settle_unchanged(connection, seen)
            case "given_up":
                await take_due(connection, limit=1, lease_s=0, attempts=5)
        due = await connection.fetchval(
            "SELECT due_at <= now() FROM attachments WHERE id = $1", row.id
        )
        assert due is True
        assert (await service.row(row.id)).state != "processing"
        assert await copy_claims.claim(connection, row.id, 1000, lease_s=30)


async def test_a_deleted_row_is_not_purged_while_the_store_may_copy_to_it(
    start_service: StartService,
) -> None:
    service = await start_service(retention="0")
    row = await asked(service)
    await service.execute("UPDATE attachments SET policy_expires_at = now() - interval '1 day'")
    assert (await service.client.request("DELETE", f"{PATH}/{row.id}")).status == 204
    left_s = await service.database.fetchval(
        "SELECT extract(epoch FROM due_at - now())::float8 FROM attachments WHERE id = $1", row.id
    )
    assert left_s > COPY_TIMEOUT_S
