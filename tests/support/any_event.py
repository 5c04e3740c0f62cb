"""Hypothesis strategies for events of any content, and a function that posts events to the API."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from shared.keys import MAX_ID, partition
from tests.support.dialects import SAMPLES
from tests.support.events import deliver
from tests.support.messages import places, put
from tests.support.service import Answer, Service
from tests.support.stack import BUCKET, EVENTS_TOKEN

thorough = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    # Do not shrink a failing example: this would take too long, because each try sends a request.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

COUNTS = {"recorded", "no_effect", "ignored", "unreadable"}
ANSWERED_WITHIN_S = 10
"""The time in seconds within which the API must answer an event.

Senders of events wait only 3 s. This limit is longer, because the test machine is busy.
"""


async def feed(service: Service, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """Post a body with a valid events token, and assert that the API accepts the body in time."""
    authorization = {"Authorization": f"Bearer {EVENTS_TOKEN}"}
    async with asyncio.timeout(4 * ANSWERED_WITHIN_S):
        answer = await deliver(service, body, {**authorization, **(headers or {})})
    assert answer.status == 200, answer.body
    assert answer.document["meta"].keys() == COUNTS
    return answer


TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def of_no_attachment(sample: Any) -> Any:
    """Copy a sample event. The copy names the tests' bucket and an id that no attachment has."""
    written = json.dumps(sample)
    for old, new in (
        (partition(4), partition(MAX_ID)),
        (quote_plus(partition(4)), quote_plus(partition(MAX_ID))),
        ('"b"', f'"{BUCKET}"'),
        ('\\"b\\"', f'\\"{BUCKET}\\"'),
        ("/buckets/b/", f"/buckets/{BUCKET}/"),
    ):
        written = written.replace(old, new)
    return json.loads(written)


MESSAGES = [
    of_no_attachment(sample)
    for sample in SAMPLES.values()
    # Exclude subscription confirmations of SNS: the service does not accept them with only the
    # events token.
    if not (isinstance(sample, dict) and "Token" in sample)
]


def bent(samples: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for messages that each differ from a sample message in one member."""
    return st.sampled_from(samples).flatmap(
        lambda sample: st.builds(
            lambda place, value: put(json.loads(json.dumps(sample)), place, value),
            st.sampled_from(places(sample)),
            JSON,
        )
    )


MUTATED = bent(MESSAGES)
