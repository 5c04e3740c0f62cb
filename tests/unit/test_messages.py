"""The broker's messages are parsed as wake-ups; every other message is reported as foreign."""

from typing import Any

import pytest

from shared import traces
from shared.keys import MAX_ID
from shared.lifecycle import WakeUp
from worker.app import read_wake_up
from worker.slots import UNKNOWN


def wake_up(organization_id: int) -> WakeUp:
    return WakeUp(attachment_id=5, organization_id=organization_id, revision=2)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"task": "attachments.process", "organization": "7"}


@pytest.mark.parametrize("payload", [[[5, 2], {}, {}], {"args": [5, 2], "task": "t"}])
def test_a_wake_up_is_read_from_either_protocol_of_celery(payload: Any) -> None:
    assert read_wake_up(payload, HEADERS) == wake_up(7)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        None,
        [],
        {"organization": None},
        {"organization": "x"},
        {"organization": "-1"},
        {"organization": "٣"},
        {"organization": ""},
        {"organization": "1" * 50},
        {"organization": {}},
    ],
)
def test_one_that_names_no_organization_is_still_a_wake_up(headers: Any) -> None:
    assert read_wake_up([[5, 2], {}, {}], headers) == wake_up(UNKNOWN)


@pytest.mark.parametrize(
    ("recorder", "header", "found"),
    [
        (object(), TRACE, TRACE),
        (None, TRACE, None),
        (object(), "", None),
        (object(), [TRACE], None),
    ],
    ids=["traces are on", "traces are off", "the sender's are off", "no text"],
)
def test_the_context_of_a_trace_is_read_where_traces_are_on(
    monkeypatch: pytest.MonkeyPatch, recorder: object, header: Any, found: str | None
) -> None:
    monkeypatch.setattr(traces, "recorder", recorder)
    read = read_wake_up([[5, 2], {}, {}], {**HEADERS, "traceparent": header})
    assert read is not None
    assert read.traceparent == found


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "",
        1,
        [],
        {},
        [[]],
        [[1]],
        [[1, 2, 3]],
        [["1", 2]],
        [[True, 1]],
        [[1, None]],
        [[MAX_ID + 1, 1]],
        [[1, MAX_ID + 1]],
        [[-1, 1]],
        {"args": "12"},
        {"args": [1.0, 1]},
    ],
)
def test_anything_else_is_nothing_of_ours(payload: Any) -> None:
    assert read_wake_up(payload, HEADERS) is None
