"""The SQL statements in any order: an attachment never breaks its invariants."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import attachments, lifecycle
from shared.attachments import Attachment
from shared.due import Duty
from shared.lifecycle import Claim, Outcome
from tests.support.lifecycle import LEASE_S, Table, event

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "event",
                "event",
                "old event",
                "vague",
                "removed",
                "claim",
                "claim",
                "sweep",
                "sweep",
                "finish",
                "finish",
                "reject",
                "announce",
                "release",
                "renew",
                "missing",
                "again",
                "retry",
                "settle missing",
                "settle unchanged",
                "policy over",
                "delete",
            ]
        ),
        st.integers(0, 3),
    ),
    min_size=5,
    max_size=40,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_no_order_of_things_breaks_an_invariant(
    table: Table, steps: list[tuple[str, int]]
) -> None:
    row = await table.create()
    # The claims are in the order in which they were made. Only the last one may be valid.
    claims: list[Claim] = []
    newest = 0
    for step, which in steps:
        before = await table.row(row)
        claim = claims[-1 - which % len(claims)] if claims else None
        holds = claim is not None and claim is claims[-1] and before.state == "processing"
        outcome = Outcome(state="ready", etag=before.etag, thumbnail_name="img.png")
        done: Any = False
        match step:
            case "event":
                newest += 1
                sent = event(row, f"e{newest}", sequencer=f"{newest:06X}")
                await table.record(sent, sent)
            case "old event":
                await table.record(event(row, "old", sequencer="000000"))
                if before.sequencer is not None:
                    assert await table.row(row) == before
            case "vague":
                await table.record(event(row))
            case "removed":
                await table.record(event(row, removed=True))
            case "claim":
                given_to = await table.claim(before)
                if given_to is not None:
                    assert before.state == "uploaded"
                    claims.append(given_to)
            case "sweep":
                if before.due_at is not None:
                    await table.make_due(row)
                claims += [
                    Claim(attachment=due.attachment)
                    for due in await table.take_due()
                    if due.attachment.id == row.id and due.duty is Duty.PROCESS
                ]
            case "policy over":
                await table.set(row.id, "policy_expires_at = now() - interval '1 hour'")
            case "delete":
                await table.run(attachments.delete, row.id, 1, retention_s=60)
            case "again":
                await table.run(lifecycle.process_again, row.id)
            case "retry":
                await table.run(lifecycle.retry, [row.id])
            case "settle missing" if before.state not in ("uploaded", "processing"):
                await table.run(lifecycle.settle_missing, before, next_check_s=75.0)
            case "settle unchanged" if before.state in ("ready", "rejected"):
                await table.run(lifecycle.settle_unchanged, before)
        if claim is not None:
            match step:
                case "finish":
                    done = await table.finish(claim, outcome)
                    if done:
                        assert before.revision == claim.attachment.claimed_revision
                case "reject":
                    done = await table.finish(claim, Outcome(state="rejected", reason="too_large"))
                case "announce":
                    done = await table.run(
                        lifecycle.announce_thumbnail, claim, "img.png", {}, lease_s=LEASE_S
                    )
                case "release":
                    done = await table.run(lifecycle.release, claim, delay_s=0.0) is not None
                case "renew":
                    done = bool(await table.run(lifecycle.renew, [claim], lease_s=LEASE_S))
                case "missing":
                    done = await table.run(
                        lifecycle.mark_missing,
                        claim,
                        next_check_s=75.0,
                        revision=claim.attachment.claimed_revision,
                    )
            assert not done or holds, "a claim that was lost wrote"
        after = await table.row(row)
        if step in ("finish", "reject", "announce", "release", "renew", "missing") and not done:
            assert after == before
        check(after, before)
    await table.pool.execute("DELETE FROM attachments")


def check(after: Attachment, before: Attachment) -> None:
    """Assert the invariants that a row must satisfy at any time."""
    assert not after.resized or after.thumbnail_name is not None
    assert not after.resized or after.state == "ready" or after.deleted_at is not None
    if after.state in ("pending", "uploaded", "processing"):
        assert after.due_at is not None, f"{after.state}, and nobody will ever look at it"
    assert after.revision >= before.revision
    assert after.claimed_revision <= after.revision
    assert (after.claimed_revision, after.attempt) >= (before.claimed_revision, before.attempt)
    if after.state == "processing":
        assert after.attempt >= 1
    if after.state in ("failed", "rejected"):
        assert after.reason is not None
    if before.deleted_at is not None:
        assert after.revision == before.revision
        assert after.state == before.state
