"""Signed SNS messages with any content: no message causes an error answer or changes a row."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amazon import Amazon, running_amazon
from tests.support.any_event import ANSWERED_WITHIN_S, JSON, MUTATED, of_no_attachment, thorough
from tests.support.databases import clone_database
from tests.support.dialects import SAMPLES, TOPIC
from tests.support.events import Target, new_row, send
from tests.support.messages import places, put
from tests.support.service import running_service, until
from tests.support.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Subscribed(Target):
    """An API that accepts signed messages of SNS, and a server that acts as SNS."""

    amazon: Amazon

    async def post(self, document: Any) -> int:
        """Post a message as SNS does, and return the HTTP status of the answer."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            return (await send(self.service, json.dumps(document).encode(), {})).status

    def sign(self, document: Any) -> Any:
        """Sign a message as SNS does; return the message unchanged if it cannot be signed."""
        try:
            return self.amazon.sign(document)
        except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form
            return document


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def subscribed(stack: Stack) -> AsyncIterator[Subscribed]:
    """Start an API that accepts messages of an SNS topic, and a server that acts as SNS."""
    async with (
        running_amazon() as amazon,
        running_service(
            stack,
            await clone_database(stack),
            amazon.connector(),
            sns_topics=TOPIC,
            sns_signature_versions="1,2",
        ) as service,
    ):
        yield Subscribed(service=service, row=await new_row(service), amazon=amazon)


@pytest_asyncio.fixture(loop_scope="session")
async def unchanged(subscribed: Subscribed) -> AsyncIterator[Subscribed]:
    """Return the module's servers. Assert afterwards that the test has changed no attachment."""
    before = await subscribed.rows()
    yield subscribed
    assert await subscribed.rows() == before


OF_SNS = [of_no_attachment(sample) for name, sample in SAMPLES.items() if name.startswith("sns-")]
BENDS = st.sampled_from(OF_SNS).flatmap(
    lambda sample: st.tuples(st.just(sample), st.sampled_from(places(sample)), JSON)
)


def sent_now(document: Any) -> Any:
    """Return a copy of a message, with the current time as its timestamp."""
    return {**document, "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"}


@pytest.mark.parametrize("document", OF_SNS, ids=lambda document: document["Type"])
async def test_an_undamaged_event_is_recorded(unchanged: Subscribed, document: Any) -> None:
    async def taken() -> bool:
        return await unchanged.post(unchanged.sign(sent_now(document))) == 200

    # An attempt may fail on a busy machine, because the server that acts as SNS answers too late.
    await until(taken)


@settings(thorough, max_examples=200)
@given(bend=BENDS, signed_before=st.booleans())
async def test_no_bent_message_of_sns_is_a_fault_or_changes_a_row(
    unchanged: Subscribed, bend: tuple[Any, tuple[Any, ...], Any], signed_before: bool
) -> None:
    straight, place, value = bend
    document = sent_now(straight)
    if signed_before:
        document = put(unchanged.sign(document), place, value)
    else:
        document = unchanged.sign(put(document, place, value))
    assert await unchanged.post(document) in (200, 401, 403, 503)


@thorough
@given(inner=MUTATED | JSON)
async def test_messages_that_sns_signs_are_accepted_and_damaged_events_change_no_row(
    unchanged: Subscribed, inner: Any
) -> None:
    document = {**sent_now(of_no_attachment(SAMPLES["sns-v2"])), "Message": json.dumps(inner)}
    assert await unchanged.post(unchanged.sign(document)) in (200, 503)
