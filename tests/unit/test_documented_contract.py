"""Numbers in the documented contract and limits are those of the code."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from api import (
    attachments,
    attributes,
    bodies,
    connection,
    creating,
    events,
    files,
    filters,
    issuing,
    pace,
    queries,
    readers,
    row_groups,
    server,
    waiters,
    walks,
)
from api.problems import GENERAL
from api.slow_readers import READ_WITHIN_S
from api.temp_urls.copying import COPIES, COPIES_EACH, COPIES_WAITING, MAX_COPIED_AT_ONCE
from shared.documents import RELATIONSHIPS
from shared.facts import THUMB_EDGE
from shared.keys import MAX_FILE_NAME_BYTES
from shared.lists import MAX_COUNTED
from shared.publisher import MAX_QUEUED, MAX_WAITING
from shared.settings import Settings
from shared.shares import share_of, split_pool
from shared.states import STATES
from worker import copying
from worker.buffering import HEAD_BYTES, MEMORY_BYTES
from worker.decoding.inside.costs import BUDGET
from worker.decoding.inside.jpeg import MAX_SCANS
from worker.decoding.inside.unpacking import MAX_UNPACKED_BYTES
from worker.decoding.pool import JOBS_PER_DECODER
from worker.decoding.protocol import MAX_MEMORY_BYTES
from worker.pipeline import LONG_READ_BYTES
from worker.reception import WAITING, WAITING_EACH
from worker.sniffing import child
from worker.sniffing.protocol import MAX_EXTENTS, MAX_PREVIEW_BYTES
from worker.sniffing.ranges import LARGE_RANGE_BYTES, PREVIEW_RANGES, RANGE_BYTES, RANGES

DOCS = Path(__file__).parents[2] / "deploy/docs"
CONTRACT = (DOCS / "contract.md").read_text()
SHARES = (DOCS / "operations.md").read_text().partition("\n## Shares\n")[2].partition("\n## ")[0]
LIMITS = (DOCS / "limits.md").read_text().partition("\n## Settings, with reasons")[0]
KIB, MIB, GIB = 1024, 1024**2, 1024**3


def section(title: str) -> str:
    """Return the text below a heading of contract.md."""
    return CONTRACT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_general_errors_are_those_of_the_contract() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", section("General errors"), re.M)
    assert {int(status): (title, detail) for status, title, detail in rows} == GENERAL


def test_the_states_are_those_of_the_contract() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", section("States"), re.MULTILINE)
    assert tuple(rows) == STATES


def test_the_relationships_are_those_of_the_contract_in_their_order() -> None:
    text = section("The attachment object").partition("Relationships, in this order:")[2]
    named = re.findall(r"`([a-z_]+)`", text.partition(". One that `include`")[0])
    assert named == ["organization", *RELATIONSHIPS]


def test_the_filters_are_those_of_the_contract() -> None:
    named = re.findall(r"`filter\[([a-z_]+)\]`", section("Show and list"))
    assert set(named) == set(filters.NAMES)


LIMITED = {
    "body of a request": (
        f"{issuing.MAX_BODY_BYTES // KIB} KiB; bulk and events"
        f" {attachments.MAX_BULK_BYTES // MIB} MiB"
    ),
    "time for a request's head": f"{connection.HEAD_TIMEOUT_S:.0f} s each",
    "a request's target": f"{connection.MAX_LINE} bytes",
    "slashes in a path": f"{server.MAX_SLASHES}",
    "JSON": (
        f"{bodies.MAX_DEPTH} levels, {bodies.MAX_MARKS:,} marks (brackets, commas, colons),"
        f" numbers of {bodies.MAX_DIGITS} digits"
    ),
    "bulk create": f"{creating.MAX_BULK} attachments",
    "values of one filter": f"{filters.MAX_FILTER_IDS} each",
    "`page[size]`": f"{queries.MAX_PAGE_SIZE}",
    "page by number": f"the first {queries.MAX_OFFSET:,}",
    "totals": f"exact up to {MAX_COUNTED:,}",
    "name, `message_id`": (f"{attributes.MAX_TEXT} characters; `temp_url` {attributes.MAX_URL:,}"),
    "file name in a key": f"{MAX_FILE_NAME_BYTES} bytes",
    "clients that wait": (
        f"{waiters.MAX_WAIT_S} s each; in one process {waiters.MAX_WAITERS:,},"
        f" {waiters.MAX_WAITERS_EACH:,} of an organization; by tickets while fewer than"
        f" {waiters.MAX_BY_TICKET:,} of the organization and {waiters.MAX_BY_TICKET_EACH} for"
    ),
    "a ticket": f"opens for {issuing.TICKET_OUTLIVES_POLICY // timedelta(hours=1)} hour after",
    "an unread answer": f"{READ_WITHIN_S:.0f} s",
    "first read of an object": (
        f"{HEAD_BYTES // KIB} KiB; {LONG_READ_BYTES // MIB} MiB if its name"
    ),
    "further reads": (
        f"{RANGES} ranges of {RANGE_BYTES // KIB} KiB, one of {LARGE_RANGE_BYTES // MIB} MiB"
    ),
    "the preview of a document": (
        f"{PREVIEW_RANGES} ranges of {RANGE_BYTES // KIB} KiB to find it;"
        f" {MAX_PREVIEW_BYTES // MIB} MiB in {MAX_EXTENTS} ranges,"
        f" {MAX_UNPACKED_BYTES // MIB} MiB when unpacked"
    ),
    "buffer of a file": f"in memory up to {MEMORY_BYTES // MIB} MiB",
    "cost of an image": f"{int(BUDGET.memory_bytes) // MIB} MiB of memory",
    "scans of a JPEG": f"{MAX_SCANS}",
    "a decoder": f"{MAX_MEMORY_BYTES // GIB} GiB of address space",
    "a process that names types": (
        f"{child.MAX_MEMORY_BYTES // MIB} MiB, {child.MAX_DESCRIPTORS} descriptors"
    ),
    "files that one decoder": f"{JOBS_PER_DECODER}, of one organization",
    "thumbnail": f"{THUMB_EDGE} × {THUMB_EDGE} pixels",
    "copies by `temp_url`": (
        f"up to {MAX_COPIED_AT_ONCE // MIB} MiB while the client waits, for 30 s; by a worker"
        f" for {copying.COPY_TIMEOUT_S // 60:.0f} minutes"
    ),
    "wake-ups that wait for the broker": f"{MAX_QUEUED:,} each",
    "wake-ups that wait in a worker": f"{WAITING:,}; {WAITING_EACH:,}",
}
"""Rows in the table of limits. The row that begins with a key must contain the key's value.

The values have the code's numbers.
"""


@pytest.mark.parametrize("row", LIMITED)
def test_a_limit_is_the_one_of_the_code(row: str) -> None:
    found = [line for line in LIMITS.splitlines() if line.startswith(f"| {row}")]
    assert len(found) == 1, found
    assert LIMITED[row] in found[0].split(" | ")[1]


POOL, _ = split_pool(Settings.model_fields["database_pool"].default)
SHARED = {
    "connections to PostgreSQL": (f"{POOL} of 10", f"{share_of(POOL)}"),
    "lists that walk many rows": (f"{walks.WALKS} at a time", "1"),
    "links to files": (f"{share_of(POOL)} at a time", f"of one attachment 1, and {files.WAITING}"),
    f"bodies, once more than {readers.LONG_BYTES // KIB} KiB": (
        f"{readers.RECEIVED} held",
        f"{readers.RECEIVED_EACH}, and {readers.WAITING} wait",
    ),
    "rows of clients that wait": (
        f"1 statement at a time, of up to {row_groups.MAX_ROWS} rows",
        "turns row by row",
    ),
    f"bodies above {bodies.SHORT_BYTES // KIB} KiB": (
        "1 at a time",
        f"1, and {readers.WAITING} wait",
    ),
    f"copies of up to {MAX_COPIED_AT_ONCE // MIB} MiB": (
        f"{COPIES} at a time",
        f"{COPIES_EACH}, and {COPIES_WAITING} wait",
    ),
    "copies by a worker": (f"{copying.COPIES} at a time", f"{copying.COPIES_EACH}"),
    "refusals": (f"{pace.REFUSALS_PER_S:.0f} a second after a burst of {pace.BURST}", ""),
}
"""Rows in the table of shares. A row begins with its key.

The two values are the limit for all organizations together, and the limit for one organization.
"""


@pytest.mark.parametrize("row", SHARED)
def test_a_share_is_the_one_of_the_code(row: str) -> None:
    (found,) = [line for line in SHARES.splitlines() if line.startswith(f"| {row}")]
    _, _, of_all, of_one, *_ = (cell.strip() for cell in found.split("|"))
    assert of_all.startswith(SHARED[row][0])
    assert of_one.startswith(SHARED[row][1])


def test_limits_that_are_named_once_are_the_same_in_two_places() -> None:
    assert MAX_QUEUED == MAX_WAITING
    assert events.MAX_EVENT_BYTES == attachments.MAX_BULK_BYTES
    assert queries.MAX_REPEATED == filters.MAX_FILTER_IDS
    assert connection.HEAD_TIMEOUT_S == bodies.READ_TIMEOUT_S
