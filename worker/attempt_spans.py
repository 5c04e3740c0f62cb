"""The trace span of an attempt at an upload, and the fields of the attempt's log lines.

If a wake-up started the attempt, the span's parent is the span that sent it. Otherwise it is the
span whose context is in the row.
"""

from contextlib import AbstractContextManager
from typing import Any

from shared import traces
from shared.broker import TEMPLATE, queue_name
from shared.lifecycle import Claim, Outcome, WakeUp
from worker.slots import UNKNOWN


def attempt_span(found: WakeUp | Claim) -> AbstractContextManager[Any]:
    """Begin the span of an attempt; return NOTHING if traces are off.

    If `found` is a claim of the sweep, there is no message. Then the parent is the span whose
    context is in the row.
    """
    recorder = traces.recorder
    if recorder is None:
        return traces.NOTHING
    if isinstance(found, Claim):
        parent = found.attachment.traceparent
        return recorder.begin("process upload of the sweep", "internal", parent=parent)
    attributes: dict[str, traces.Value | None] = {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.template": TEMPLATE,
        "attachments.id": found.attachment_id,
        "attachments.request_id": found.request_id or None,
    }
    if found.organization_id != UNKNOWN:
        attributes["messaging.destination.name"] = queue_name(found.organization_id)
    return recorder.begin(f"process {TEMPLATE}", "consumer", attributes, parent=found.traceparent)


def fields_of(found: WakeUp | Claim) -> dict[str, Any]:
    """Return the fields that all log lines of an attempt have."""
    if isinstance(found, Claim):
        row = found.attachment
        return {
            "organization": row.organization_id,
            "attachment": row.id,
            "revision": row.claimed_revision,
            "attempt": row.attempt,
        }
    fields = {"attachment": found.attachment_id, "revision": found.revision}
    return {**fields, "request_id": found.request_id} if found.request_id else fields


def trace_fields(span: traces.Span | None) -> dict[str, str]:
    """Return the log field with the id of the trace; return no field if there is no span."""
    return {} if span is None else {"trace_id": span.trace_id}


def note_claim(claim: Claim) -> None:
    """Add the facts of the claimed row to the span of the attempt."""
    if traces.recorder is not None:
        row = claim.attachment
        traces.recorder.note(
            {
                "attachments.id": row.id,
                "attachments.organization_id": row.organization_id,
                "attachments.revision": row.claimed_revision,
                "attachments.attempt": row.attempt,
            }
        )


def note_outcome(outcome: Outcome) -> None:
    """Add the outcome to the span of the attempt, after the outcome was written to the row."""
    if traces.recorder is not None:
        traces.recorder.note(
            {
                "attachments.state": outcome.state,
                "attachments.reason": outcome.reason,
                "attachments.content_type": outcome.facts.content_type,
                "attachments.size": outcome.facts.size,
            }
        )
