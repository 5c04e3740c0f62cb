"""The request ids and the trace span of the wake-ups that a batch of SQS messages causes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from shared import traces
from shared.intake import Message
from shared.request_ids import HEADER, request_id
from worker.queue.sqs import Received


def request_ids(batch: Sequence[Received], messages: Sequence[Message]) -> dict[int, str]:
    """Return the request id of each attachment that a batch names.

    The request id is the id that SQS gave to the message, which is the same at each delivery. If
    several messages name an attachment, the first message gives the id.
    """
    found: dict[int, str] = {}
    for item, message in zip(batch, messages, strict=True):
        own_id = request_id({HEADER: item.id})
        for event in message.reading.events:
            if event.attachment_id is not None:
                found.setdefault(event.attachment_id, own_id)
    return found


def batch_span(queue_url: str | None, count: int) -> AbstractContextManager[Any]:
    """Begin the span of a batch of messages; return NOTHING if traces are off.

    The span begins a new trace, because messages of stores carry no trace context. An upload that
    already has a trace keeps it.
    """
    if traces.recorder is None:
        return traces.NOTHING
    name = urlsplit(queue_url or "").path.rpartition("/")[2]
    return traces.recorder.begin(
        f"process {name}",
        "consumer",
        {
            "messaging.system": "aws_sqs",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": name,
            "messaging.batch.message_count": count,
        },
    )
