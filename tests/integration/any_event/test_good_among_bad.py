"""Valid and invalid records, in one message or in successive messages.

Each valid record is recorded.
"""

import asyncio
import json
from typing import Any

import orjson
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from shared.attachments import Attachment
from tests.support.any_event import JSON, MUTATED, feed, thorough
from tests.support.dialects import AWS, BATCHING, DIALECTS, Dialect
from tests.support.events import RECORDED, new_row, post
from tests.support.service import Service
from tests.support.stack import BUCKET


class Good:
    """An attachment whose valid events are recorded, no matter which other events come before."""

    def __init__(self, service: Service, row: Attachment) -> None:
        self._service, self._row, self._number = service, row, 0

    async def follows(self, dialect: Dialect = AWS) -> None:
        """Post the next valid event of the attachment, and assert that it is recorded."""
        self._number += 1
        sent = dialect.make_event(
            BUCKET, self._row.key, etag=f"e{self._number}", sequencer=f"{self._number:08X}"
        )
        assert await post(self._service, dialect, sent) == RECORDED


@pytest_asyncio.fixture(loop_scope="session")
async def good(service: Service) -> Good:
    """Create an attachment. Return it as a `Good`, which can post valid events about it."""
    return Good(service, await new_row(service))


def first_record(document: Any) -> Any:
    """Return the first record of a message, or the whole message if it has no records."""
    records = document.get("Records") if isinstance(document, dict) else document
    return records[0] if isinstance(records, list) and records else document


def is_json(document: Any) -> bool:
    """Return True if a JSON parser accepts the document.

    If a document contains NaN or a lone surrogate, the whole body is unreadable, even its valid
    records.
    """
    try:
        orjson.loads(json.dumps(document))
    except orjson.JSONDecodeError:
        return False
    return True


POISON = (JSON | MUTATED.map(first_record)).filter(is_json)


@thorough
@given(poison=POISON, place=st.integers(0, 2), dialect=st.sampled_from(BATCHING))
async def test_good_records_count_among_any_others(
    service: Service, pair: tuple[Attachment, Attachment], poison: Any, place: int, dialect: Dialect
) -> None:
    await service.execute(
        "UPDATE attachments SET state = 'pending', etag = NULL, sequencer = NULL"
        " WHERE id = ANY ($1::bigint[])",
        [row.id for row in pair],
    )
    sent = [dialect.make_event(BUCKET, row.key, etag="e1") for row in pair]
    sent.insert(place, poison)
    answer = await feed(service, json.dumps(dialect.message(*sent)).encode())
    states = {(await service.row(row.id)).state for row in pair}
    recorded = answer.document["meta"]["recorded"]
    assert (recorded, states) == (2, {"uploaded"})


@pytest_asyncio.fixture(loop_scope="session")
async def pair(service: Service) -> tuple[Attachment, Attachment]:
    """Create two attachments, and return their rows."""
    return await new_row(service), await new_row(service)


@thorough
@given(
    junk=st.lists(st.binary(max_size=50) | MUTATED.map(json.dumps).map(str.encode), max_size=4),
    dialect=st.sampled_from(DIALECTS),
)
async def test_the_next_good_event_is_always_taken(
    service: Service, good: Good, junk: list[bytes], dialect: Dialect
) -> None:
    await asyncio.gather(*(feed(service, body) for body in junk))
    await good.follows(dialect)
