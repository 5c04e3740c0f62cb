"""Every statement of the data layer runs on an index, on a table of a million rows."""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from shared import (
    attachments,
    backlog,
    copies,
    copy_claims,
    dead_letters,
    due,
    lifecycle,
    lists,
    new_attachments,
    older_objects,
    organizations,
    overview,
    reconciliation,
    sequence,
    tokens,
)
from shared.attachments import Attachment
from shared.database import SERVER_SETTINGS
from shared.lifecycle import Claim, Outcome, WakeUp
from shared.lists import Filter
from shared.new_attachments import NewAttachment
from shared.notifications import UploadEvent
from shared.overview import Selection
from shared.reasons import ReasonCode
from shared.settings import load_settings
from shared.states import STATES, State
from tests.support.databases import clone_database
from tests.support.stack import Stack

ROWS = 1_000_000
TOKENS = 20_000
LETTERS = 100_000
BIG, USUAL = 1, 50
"""An organization that owns a fifth of all rows, and one of a hundred others alike."""

BUCKET = "bucket"
UPLOADED, PROCESSING, READY, FAILED, DELETED = range(1, 6)
"""Ids of rows in these states, of organization USUAL; the first three are due."""

SCANS = ("Seq Scan on attachments", "Seq Scan on tokens", "Seq Scan on dead_letters")

MODULES: tuple[ModuleType, ...] = (
    attachments,
    new_attachments,
    lists,
    copies,
    copy_claims,
    lifecycle,
    due,
    organizations,
    tokens,
    dead_letters,
    older_objects,
    reconciliation,
    sequence,
    overview,
    backlog,
)

COMPOSED = {
    "older_objects.delete_own",
    "sequence.find_taken_id",
    "sequence.keep_clear",
    "sequence.mend_sequence",
}
"""These have no statement of their own: they ask the store, and call functions of the list."""

FILL = f"""
INSERT INTO attachments (
    id, organization_id, bucket, name, file_name, attachable_type, attachable_id, state, reason,
    revision, claimed_revision, attempt, due_at, etag, policy_expires_at, uploaded_at, deleted_at
)
SELECT n, CASE WHEN n < 100 THEN {USUAL} WHEN n % 5 = 0 THEN {BIG} ELSE 2 + n % 100 END,
       '{BUCKET}', 'img.png', 'img.png',
       CASE WHEN n % 3 > 0 THEN 'comment' END, CASE WHEN n % 3 > 0 THEN n / 20 END,
       CASE WHEN n = {UPLOADED} THEN 'uploaded' WHEN n = {PROCESSING} THEN 'processing'
            WHEN n = {FAILED} OR n % 1000 = 7 THEN 'failed' ELSE 'ready' END,
       CASE WHEN n = {FAILED} OR n % 1000 = 7 THEN 'missing' END,
       1, CASE WHEN n = {UPLOADED} THEN 0 ELSE 1 END, 1,
       CASE WHEN n <= {READY} THEN now() - interval '1 minute'
            WHEN n % 500 = 0 THEN now() + interval '1 hour' END,
       'a', now() + interval '1 hour', now(),
       CASE WHEN n = {DELETED} OR n % 50 = 0 THEN now() END
FROM generate_series(1, {ROWS}) AS n
"""


@pytest_asyncio.fixture(scope="module")
async def filled(stack: Stack) -> str:
    """A database with a million attachments."""
    database_url = await clone_database(stack)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO organizations (id, name) SELECT n, 'o' FROM generate_series(1, 200) AS n"
    )
    await connection.execute("SELECT setval('organizations_id_seq', 200)")
    await connection.execute(
        "INSERT INTO tokens (organization_id, name, digest)"
        f" SELECT 1 + n % 200, 't', sha256(n::text::bytea) FROM generate_series(1, {TOKENS}) AS n"
    )
    await connection.execute(
        "INSERT INTO dead_letters (digest, body, size, source, origin, reason, last_at)"
        " SELECT sha256(n::text::bytea), 'x', 1, 'webhook', 'o' || n % 50, 'r',"
        "        now() - n * interval '1 second'"
        f" FROM generate_series(1, {LETTERS}) AS n"
    )
    # Of what is not committed for sure VACUUM does not say that everyone sees it.
    await connection.execute("SET synchronous_commit = on")
    await connection.execute(FILL)
    await connection.execute(f"ALTER SEQUENCE attachments_id_seq RESTART WITH {ROWS + 1}")
    await connection.execute(
        "VACUUM ANALYZE attachments, tokens, organizations, dead_letters, dead_letter_origins"
    )
    await connection.close()
    return database_url


class Explaining:
    """A connection that looks at the plan of each statement before it runs it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self.explained = 0
        self.walked: list[str] = []

    async def _explain(self, statement: str, values: tuple[Any, ...]) -> None:
        if statement.startswith("EXPLAIN "):  # by `estimate`, which reads no row
            self.explained += 1
            return
        # With these very values, and as a statement is planned that is prepared and used often.
        for options in ("FORMAT JSON", "FORMAT JSON, GENERIC_PLAN"):
            plan = json.loads(
                await self._connection.fetchval(f"EXPLAIN ({options}) {statement}", *values)
            )[0]["Plan"]
            for node in nodes(plan):
                walked = f"{node['Node Type']} on {node.get('Relation Name')}"
                self.walked.append(f"{walked} by {node.get('Index Name')}")
                assert walked not in SCANS, f"{options}: {statement}\n{json.dumps(plan, indent=1)}"
        self.explained += 1

    async def fetch(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.fetchval(statement, *values)

    async def execute(self, statement: str, *values: Any) -> Any:
        """Explain and run."""
        await self._explain(statement, values)
        return await self._connection.execute(statement, *values)

    def transaction(self) -> Any:
        """Begin a transaction inside the test's own."""
        return self._connection.transaction()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Walk a plan's tree."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


@pytest_asyncio.fixture
async def connection(filled: str) -> AsyncIterator[Explaining]:
    """A connection like the service's; what is done over it is undone."""
    plain = await asyncpg.connect(
        filled, server_settings={**SERVER_SETTINGS, "statement_timeout": "30000"}
    )
    transaction = plain.transaction()
    await transaction.start()
    yield Explaining(plain)
    await transaction.rollback()
    await plain.close()


async def row_of(connection: Any, attachment_id: int) -> Attachment:
    """Read a row that is there."""
    found = await attachments.find_any(connection, attachment_id)
    assert found is not None
    return found


async def held(connection: Any) -> Claim:
    """Make the claim under which `PROCESSING` is processed."""
    return Claim(attachment=await row_of(connection, PROCESSING))


async def seen(connection: Any) -> Attachment:
    """Read a row that is to be settled."""
    return await row_of(connection, READY)


def told(attachment_id: int, **more: Any) -> UploadEvent:
    """Make an event of one of the rows."""
    key = f"attachments/files/000/000/{attachment_id:03}/original/img.png"
    return UploadEvent(bucket=BUCKET, key=key, **more)


ONE = Filter(attachable_type="comment", ids=(77,))
SEVERAL = Filter(attachable_type="comment", ids=tuple(range(2000, 2100)))
NOT = Filter(attachable_type="comment", ids=(77, 78), negated=True)

NEEDED = {
    "database_url": "postgresql://h/d",
    "broker_url": "redis://h",
    "s3_bucket": BUCKET,
    "files_secret": "a secret of the tests",
}
KEEPS_FEW = load_settings(**NEEDED, dead_letters="1000", dead_letter_age="5000")
KEEPS_ALL = load_settings(**NEEDED, dead_letters="100000", dead_letter_age="5000000")

Call = Callable[[Any], Awaitable[Any]]

# What each function must answer is told with it: a plan is worth nothing of what finds nothing.
WANTED = copies.Wanted(bucket=BUCKET, key="k", etag="e", temp_url="t")

CALLS: dict[str, tuple[Call, Callable[[Any], bool]]] = {
    "new_attachments.create": (
        lambda c: new_attachments.create(
            c,
            [NewAttachment(name="a")] * 100,
            organization_id=USUAL,
            creator_id=None,
            bucket=BUCKET,
            policy_ttl_s=60,
            first_check_s=75,
        ),
        lambda found: len(found) == 100,
    ),
    "attachments.find": (lambda c: attachments.find(c, READY, USUAL), bool),
    "attachments.find_any": (lambda c: attachments.find_any(c, DELETED), bool),
    "lists.count": (lambda c: lists.count(c, USUAL, []), lambda n: n > 1000),
    "lists.count of a big organization": (
        lambda c: lists.count(c, BIG, []),
        lambda n: n > 100_000,
    ),
    "lists.estimate": (
        lambda c: lists.estimate(c, BIG, []),
        lambda n: 150_000 < n < 250_000,
    ),
    "lists.estimate by not": (
        lambda c: lists.estimate(c, BIG, [NOT]),
        lambda n: 100_000 < n < 250_000,
    ),
    "lists.count by attachable": (lambda c: lists.count(c, USUAL, [SEVERAL]), bool),
    "lists.count by not": (lambda c: lists.count(c, USUAL, [NOT]), bool),
    "lists.page": (lambda c: lists.page(c, USUAL, [], limit=50), bool),
    "lists.page of a big organization": (
        lambda c: lists.page(c, BIG, [], limit=200, descending=True),
        bool,
    ),
    "lists.page at an offset": (
        lambda c: lists.page(c, USUAL, [], limit=50, offset=1000),
        bool,
    ),
    "lists.page at the largest offset": (
        lambda c: lists.page(c, BIG, [], limit=200, offset=100_000),
        lambda rows: len(rows) == 200,
    ),
    "lists.page at an offset by not": (
        lambda c: lists.page(c, BIG, [NOT], limit=200, offset=1000, descending=True),
        lambda rows: len(rows) == 200,
    ),
    "lists.page after": (
        lambda c: lists.page(c, USUAL, [], limit=50, after=ROWS // 2),
        bool,
    ),
    "lists.page before": (
        lambda c: lists.page(c, USUAL, [], limit=50, before=ROWS // 2, descending=True),
        bool,
    ),
    "lists.page by attachable": (
        lambda c: lists.page(c, BIG, [ONE], limit=50),
        bool,
    ),
    "lists.page by several": (
        lambda c: lists.page(c, USUAL, [SEVERAL], limit=50),
        bool,
    ),
    "lists.page by not": (lambda c: lists.page(c, USUAL, [NOT], limit=50), bool),
    "attachments.update": (
        lambda c: attachments.update(c, READY, USUAL, {"name": "b", "attachable_id": 5}),
        bool,
    ),
    "attachments.update of nothing": (lambda c: attachments.update(c, READY, USUAL, {}), bool),
    "attachments.delete": (
        lambda c: attachments.delete(c, READY, USUAL, retention_s=60),
        bool,
    ),
    "copies.ask": (
        lambda c: with_row(c, lambda row: ask_copy(c, row)),
        lambda found: found is not None,
    ),
    "copies.find": (lambda c: with_copy(c, lambda row: copies.find(c, row.id)), bool),
    "copy_claims.claim": (
        lambda c: with_copy(c, lambda row: copy_claims.claim(c, row.id, None, lease_s=30)),
        bool,
    ),
    "copy_claims.renew": (
        lambda c: with_copy(c, lambda row: copy_claims.renew(c, row, lease_s=30)),
        bool,
    ),
    "copy_claims.postpone": (
        lambda c: with_copy(c, lambda row: copy_claims.postpone(c, row, delay_s=1)),
        lambda found: found is None,
    ),
    "copies.create": (
        lambda c: copies.create(
            c,
            [NewAttachment(name="a"), NewAttachment(name="b")],
            [WANTED, None],
            grace_s=15,
            organization_id=USUAL,
            creator_id=None,
            bucket=BUCKET,
            policy_ttl_s=60,
            first_check_s=60,
        ),
        lambda rows: [row.copy_key for row in rows] == ["k", None],
    ),
    "copies.change": (
        lambda c: with_row(c, lambda row: copies.change(c, row, {"name": "c"}, WANTED, grace_s=1)),
        bool,
    ),
    "copy_claims.release": (
        lambda c: with_copy(c, lambda row: copy_claims.release(c, row, delay_s=1)),
        bool,
    ),
    "copy_claims.wait": (
        lambda c: with_copy(
            c, lambda row: copy_claims.wait(c, row.id, row.copy_attempt, delay_s=1)
        ),
        lambda found: found is None,
    ),
    "copy_claims.finish": (
        lambda c: with_copy(c, lambda row: copy_claims.finish(c, row, "e")),
        bool,
    ),
    "copy_claims.record": (
        lambda c: with_copy(c, lambda row: copy_claims.record(c, row, "e", publish_grace_s=1)),
        bool,
    ),
    "copies.show": (lambda c: with_copy(c, lambda row: copies.show(c, row)), bool),
    "copy_claims.fail": (
        lambda c: with_copy(c, lambda row: copy_claims.fail(c, row, reason="copy_failed")),
        bool,
    ),
    "copy_claims.drop": (
        lambda c: with_copy(c, lambda row: copy_claims.drop(c, row.id, row.copy_attempt)),
        lambda found: found is None,
    ),
    "lifecycle.record_uploads": (
        lambda c: lifecycle.record_uploads(
            c,
            [told(READY, etag="b"), told(UPLOADED, etag="b", sequencer="1")],
            publish_grace_s=15,
        ),
        lambda found: len(found.changed) == 2,
    ),
    "lifecycle.record_uploads of many": (
        lambda c: lifecycle.record_uploads(
            c, [told(n, etag="b") for n in range(10, 510)], publish_grace_s=15
        ),
        lambda found: len(found.changed) > 400,
    ),
    "lifecycle.claim": (lambda c: lifecycle.claim(c, UPLOADED, 1, lease_s=30), bool),
    "due.make_due": (
        lambda c: due.make_due(
            c,
            [
                WakeUp(attachment_id=each, organization_id=USUAL, revision=1)
                for each in range(UPLOADED, UPLOADED + 1000)
            ],
        ),
        lambda count: count == 0,  # what could be is due already
    ),
    "due.take_due": (
        lambda c: due.take_due(c, limit=32, lease_s=30, attempts=5),
        lambda sweep: len(sweep.due) == 3,
    ),
    "due.take_due of a backlog": (
        lambda c: with_backlog(
            c, lambda: due.take_due(c, limit=32, lease_s=30, attempts=5, after=USUAL)
        ),
        lambda sweep: len({due.attachment.organization_id for due in sweep.due}) == 2,
    ),
    "lifecycle.renew": (
        lambda c: with_claim(c, lambda claim: lifecycle.renew(c, [claim] * 32, lease_s=30)),
        bool,
    ),
    "lifecycle.announce_thumbnail": (
        lambda c: with_claim(
            c, lambda claim: lifecycle.announce_thumbnail(c, claim, "a.png", lease_s=30)
        ),
        bool,
    ),
    "lifecycle.finish": (
        lambda c: with_claim(
            c,
            lambda claim: lifecycle.finish(
                c, claim, Outcome(state="ready"), revision=1, next_check_s=75
            ),
        ),
        bool,
    ),
    "lifecycle.release": (
        lambda c: with_claim(c, lambda claim: lifecycle.release(c, claim, delay_s=1)),
        bool,
    ),
    "lifecycle.mark_missing": (
        lambda c: with_claim(
            c, lambda claim: lifecycle.mark_missing(c, claim, revision=1, next_check_s=75)
        ),
        bool,
    ),
    "lifecycle.process_again": (lambda c: lifecycle.process_again(c, PROCESSING), bool),
    "lifecycle.settle_missing": (
        lambda c: with_row(c, lambda row: lifecycle.settle_missing(c, row, next_check_s=75)),
        bool,
    ),
    "lifecycle.settle_unchanged": (
        lambda c: with_row(c, lambda row: lifecycle.settle_unchanged(c, row)),
        lambda found: found is None,
    ),
    "lifecycle.postpone": (
        lambda c: with_row(c, lambda row: lifecycle.postpone(c, row, delay_s=30)),
        lambda found: isinstance(found, bool),
    ),
    "lifecycle.row_age_s": (
        lambda c: lifecycle.row_age_s(c, DELETED),
        lambda found: found is not None,
    ),
    "lifecycle.settle_purged": (
        lambda c: lifecycle.settle_purged(c, DELETED),
        lambda found: found is None,
    ),
    "lifecycle.retry": (
        lambda c: lifecycle.retry(c, [FAILED, 1007, 2007]),
        lambda found: len(found) == 3,
    ),
    "overview.list_ids of the failed": (
        lambda c: overview.list_ids(c, Selection(states=("failed",)), after=500_000, limit=100),
        lambda found: len(found) == 100,
    ),
    "overview.list_ids by reason": (
        lambda c: overview.list_ids(
            c, Selection(states=("ready", "failed", "rejected"), reason="missing"), limit=100
        ),
        lambda found: len(found) == 100,
    ),
    "overview.list_newest": (
        lambda c: overview.list_newest(c, Selection(), limit=50),
        lambda rows: [row.id for row in rows] == [n for n in range(ROWS, 0, -1) if n % 50][:50],
    ),
    "overview.list_newest of an organization": (
        lambda c: overview.list_newest(
            c, Selection(organization_id=USUAL), limit=50, before=ROWS // 2
        ),
        lambda rows: len(rows) == 50,
    ),
    "overview.list_newest of the failed of an organization": (
        lambda c: overview.list_newest(
            c, Selection(states=("failed",), organization_id=BIG), limit=50
        ),
        lambda rows: rows == [],
    ),
    "overview.list_newest by reason": (
        lambda c: overview.list_newest(c, Selection(reason="missing"), limit=50),
        lambda rows: len(rows) == 50,
    ),
    "overview.list_newest by reason of an organization": (
        lambda c: overview.list_newest(
            c, Selection(reason="missing", organization_id=BIG), limit=50
        ),
        lambda rows: rows == [],
    ),
    "overview.list_newest by a reason that none has": (
        lambda c: overview.list_newest(c, Selection(reason="too_large"), limit=50),
        lambda rows: rows == [],
    ),
    "overview.count_states": (
        overview.count_states,
        lambda counts: counts["ready"] == 100_001 and counts["failed"] == 1001,
    ),
    "overview.count_states of an organization": (
        lambda c: overview.count_states(c, USUAL),
        lambda counts: 1000 < counts["ready"] < 100_000,
    ),
    "overview.estimate_state": (
        lambda c: overview.estimate_state(c, "ready"),
        lambda n: 800_000 < n < 1_300_000,
    ),
    "overview.estimate_state of an organization": (
        lambda c: overview.estimate_state(c, "ready", BIG),
        lambda n: 100_000 < n < 250_000,
    ),
    "organizations.create_named": (
        lambda c: organizations.create_named(c, "a name of its own"),
        bool,
    ),
    "organizations.exists": (
        lambda c: organizations.exists(c, USUAL),
        lambda found: found is True,
    ),
    "organizations.list_organizations": (
        lambda c: organizations.list_organizations(c, after=USUAL, limit=20),
        lambda found: [each.id for each in found] == list(range(USUAL + 1, USUAL + 21)),
    ),
    "organizations.create_organization": (
        lambda c: organizations.create_organization(c, "new", 5000),
        lambda found: found == 5000,
    ),
    "tokens.create_token": (
        lambda c: tokens.create_token(c, USUAL, "new"),
        bool,
    ),
    "tokens.list_tokens": (lambda c: tokens.list_tokens(c, USUAL), bool),
    "tokens.revoke_token": (lambda c: tokens.revoke_token(c, 100), bool),
    "tokens.issue_token": (
        lambda c: tokens.issue_token(c, USUAL, "new", expires=timedelta(days=1)),
        bool,
    ),
    "tokens.has_ended": (
        lambda c: tokens.has_ended(c, "no such"),
        lambda found: found is False,
    ),
    "tokens.record_use": (
        lambda c: tokens.record_use(c, {100: 0.0, 200: 1.5}),
        lambda found: found is None,
    ),
    "dead_letters.keep": (
        lambda c: dead_letters.keep(
            c, b"new", source="webhook", origin="o", dialect=None, reason="r"
        ),
        bool,
    ),
    "dead_letters.prune": (
        lambda c: dead_letters.prune(c, KEEPS_FEW, ["o1", "o2"]),
        lambda found: found == 200,
    ),
    "dead_letters.lock": (dead_letters.lock, lambda found: found is None),
    "dead_letters.prune of many bytes": (
        lambda c: with_heavy_letters(c, lambda: dead_letters.prune(c, KEEPS_ALL, ["o1", "o2"])),
        lambda found: found == 100,
    ),
    "dead_letters.prune of nothing": (
        lambda c: dead_letters.prune(c, KEEPS_ALL, ["o1", "o2"]),
        lambda found: found == 0,
    ),
    "dead_letters.count_again": (lambda c: dead_letters.count_again(c, b"7"), bool),
    "dead_letters.list_newest": (
        lambda c: dead_letters.list_newest(c, limit=50, before=LETTERS // 2),
        lambda found: len(found) == 50,
    ),
    "dead_letters.find": (lambda c: dead_letters.find(c, 7), bool),
    "dead_letters.remove": (
        lambda c: dead_letters.remove(c, [7, 8]),
        lambda found: found is None,
    ),
    "tokens.find_caller": (lambda c: find_new_caller(c), bool),
    "tokens.notify": (
        lambda c: tokens.notify(c, "channel"),
        lambda found: found is None,
    ),
    "older_objects.set_aside": (
        lambda c: with_claim(
            c, lambda claim: older_objects.set_aside(c, claim, revision=1, next_check_s=75)
        ),
        bool,
    ),
    "older_objects.settle_older": (
        lambda c: with_row(c, lambda row: older_objects.settle_older(c, row, next_check_s=75)),
        bool,
    ),
    "attachments.find_rows": (
        lambda c: attachments.find_rows(c, range(1000, 2000)),
        lambda found: len(found) == 1000,
    ),
    "reconciliation.name_bucket": (
        lambda c: with_row(c, lambda row: reconciliation.name_bucket(c, row, "other")),
        lambda found: found is None,
    ),
    "reconciliation.walk_rows": (
        lambda c: reconciliation.walk_rows(c, ROWS // 2),
        lambda found: len(found) == 1000,
    ),
    "backlog.measure": (backlog.measure, lambda found: found.waiting == 2),
    "backlog.measure with a backlog": (
        lambda c: with_waiting(c, lambda: backlog.measure(c)),
        lambda found: found.waiting == 100_000,
    ),
    "backlog.read_sample": (
        lambda c: backlog.read_sample(c, max_age_s=0),
        lambda found: found.waiting == 2 and found.letters == LETTERS,
    ),
    "sequence.find_last_id": (sequence.find_last_id, lambda found: found >= ROWS),
    "sequence.find_greatest_row": (sequence.find_greatest_row, lambda found: found == ROWS),
    "sequence.raise_sequence": (lambda c: sequence.raise_sequence(c, 2 * ROWS), bool),
}


async def ask_copy(connection: Any, row: Attachment) -> Any:
    """Ask for a copy to a row that is done."""
    return await copies.ask(connection, row, WANTED, grace_s=15)


async def with_copy(connection: Any, function: Callable[[Attachment], Awaitable[Any]]) -> Any:
    """Call a function with a row to which something is to be copied."""
    return await function(await ask_copy(connection, await seen(connection)))


async def with_heavy_letters(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function when an origin holds more bytes than it may."""
    await connection._connection.execute(
        "UPDATE dead_letter_origins SET bytes = 2 * $1 WHERE origin = 'o1'",
        dead_letters.MAX_ORIGIN_BYTES,
    )
    return await function()


async def with_claim(connection: Any, function: Callable[[Claim], Awaitable[Any]]) -> Any:
    """Call a function with the claim that holds `PROCESSING`."""
    return await function(await held(connection))


async def with_row(connection: Any, function: Callable[[Attachment], Awaitable[Any]]) -> Any:
    """Call a function with a row that is done."""
    return await function(await seen(connection))


async def with_backlog(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function when a hundred thousand rows of one organization are due."""
    await connection._connection.execute(
        "UPDATE attachments SET due_at = now() - interval '1 hour'"
        f" WHERE organization_id = {BIG} AND id > {ROWS // 2}"
    )
    return await function()


async def with_waiting(connection: Any, function: Callable[[], Awaitable[Any]]) -> Any:
    """Call a function when more uploads wait than are counted."""
    await connection._connection.execute(
        "UPDATE attachments SET state = 'uploaded', claimed_revision = 0"
        " WHERE deleted_at IS NULL AND id % 7 = 0"
    )
    return await function()


async def find_new_caller(connection: Any) -> Any:
    """Look up the token that is made first."""
    token = await tokens.create_token(connection, USUAL, "new")
    return await tokens.find_caller(connection, tokens.digest(token))


@pytest.mark.parametrize("name", CALLS)
async def test_a_statement_never_scans_the_table(connection: Explaining, name: str) -> None:
    call, answers = CALLS[name]
    found = await call(connection)
    assert answers(found), found
    assert connection.explained > 0


@pytest.mark.parametrize("analyzed", [True, False])
async def test_a_sweep_reads_no_more_of_a_backlog_than_it_needs(
    connection: Explaining, analyzed: bool
) -> None:
    async def sweep() -> list[dict[str, Any]]:
        statement, values = await sent(
            lambda c: due.take_due(c, limit=32, lease_s=30, attempts=5, after=USUAL)
        )
        plan = await connection._connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
        )
        return list(nodes(json.loads(plan)[0]["Plan"]))

    async def backlog() -> list[dict[str, Any]]:
        if analyzed:
            await connection._connection.execute("ANALYZE attachments")
        return await sweep()

    for walked in (await sweep(), await with_backlog(connection, backlog)):
        read = {
            node["Index Name"]: node["Actual Rows"] * node["Actual Loops"]
            for node in walked
            if node.get("Relation Name") == "attachments" and "Index Name" in node
        }
        assert set(read) == {
            "attachments_due",
            "attachments_due_by_organization",
            "attachments_pkey",
        }
        assert max(read.values()) <= due.SWEEP_WINDOW
    (locks,) = (node for node in walked if node["Node Type"] == "LockRows")
    assert locks["Actual Rows"] * locks["Actual Loops"] == 32


async def sent(call: Call) -> tuple[str, tuple[Any, ...]]:
    """Tell what statement a function sends, and with which values."""
    seen: list[tuple[str, tuple[Any, ...]]] = []

    class Listening:
        async def fetch(self, statement: str, *values: Any) -> list[Any]:
            seen.append((statement, values))
            return []

        async def fetchval(self, statement: str, *values: Any) -> int:
            seen.append((statement, values))
            return 0

    await call(Listening())
    return seen[0]


@pytest.mark.parametrize(
    ("call", "most_rows", "most_blocks"),
    [
        pytest.param(lambda c: lists.count(c, BIG, []), 100_001, 1500, id="count"),
        pytest.param(
            lambda c: lists.page(c, BIG, [], limit=200, offset=100_000),
            100_200,
            2500,
            id="page",
        ),
    ],
)
async def test_a_list_reads_no_more_of_a_large_organization_than_it_shows_and_counts(
    filled: str, connection: Explaining, call: Call, most_rows: int, most_blocks: int
) -> None:
    statement, values = await sent(call)
    plain = await asyncpg.connect(filled)
    for _ in range(5):
        # A rolled-back test leaves pages that are not all visible. VACUUM skips a page that another
        # process of PostgreSQL holds at that moment, so it may have to come again.
        await plain.execute("VACUUM ANALYZE attachments")
        plan = json.loads(
            await connection._connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *values
            )
        )[0]["Plan"]
        walked = [node for node in nodes(plan) if "Index Name" in node]
        if walked[0].get("Heap Fetches") == 0:
            break
    await plain.close()
    assert walked[0]["Node Type"] == "Index Only Scan"
    assert walked[0]["Heap Fetches"] == 0
    assert max(node["Actual Rows"] for node in walked) <= most_rows
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= most_blocks


@pytest.mark.parametrize("organization", [None, USUAL, BIG])
@pytest.mark.parametrize("reason", [None, "missing", "too_large"])
@pytest.mark.parametrize("states", [STATES, *((state,) for state in STATES)], ids=",".join)
async def test_an_operators_list_reads_no_more_than_it_may_show(
    connection: Explaining,
    states: tuple[State, ...],
    reason: ReasonCode | None,
    organization: int | None,
) -> None:
    wanted = Selection(states=states, reason=reason, organization_id=organization)
    for call in (
        lambda c: overview.list_newest(c, wanted, limit=50, before=ROWS),
        lambda c: overview.list_ids(c, wanted, limit=50, after=ROWS // 2),
    ):
        statement, values = await sent(call)
        plan = await connection._connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values
        )
        for node in nodes(json.loads(plan)[0]["Plan"]):
            if node.get("Relation Name") == "attachments":
                passed_over = node.get("Rows Removed by Filter", 0)
                read = (node["Actual Rows"] + passed_over) * node["Actual Loops"]
                # one of a reason alone is not told apart by state, and few have one
                assert read <= len(states) * 50 + 1100 * (reason is not None), node


async def test_a_scan_of_the_table_would_be_noticed(connection: Explaining) -> None:
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.fetch("SELECT id FROM attachments WHERE name = $1", "other")
    with pytest.raises(AssertionError, match="Seq Scan"):
        await connection.execute("UPDATE tokens SET name = $1 WHERE name = $2", "a", "b")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_statement_is_left_out(module: ModuleType) -> None:
    short = module.__name__.rpartition(".")[2]
    functions = {
        f"{short}.{name}"
        for name, function in vars(module).items()
        if inspect.iscoroutinefunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert functions
    assert functions - COMPOSED <= {name.partition(" ")[0] for name in CALLS}
