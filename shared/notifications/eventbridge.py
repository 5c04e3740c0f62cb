"""The messages of Amazon EventBridge: one event each, in `detail`. Keys are not encoded.

Source: Amazon S3 User Guide, "EventBridge event message structure".
"""

from collections.abc import Iterator
from typing import Any, Final

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent
from shared.notifications.records import etag, member, optional, sequencer, text

CREATED: Final = "Object Created"
REMOVED: Final = "Object Deleted"


def recognises(document: Any) -> bool:
    """Return whether a document is an event of S3. EventBridge has other events too."""
    return (
        isinstance(document, dict)
        and document.get("source") == "aws.s3"
        and "detail-type" in document
    )


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Yield the event of a message, or None if it is not about a creation or a removal."""
    kind = document["detail-type"]
    if not isinstance(kind, str):
        yield UnreadableEvent("detail-type is not a string")
        return
    if kind not in (CREATED, REMOVED):
        yield None
        return
    try:
        yield _event(member(document, "detail"), removed=kind == REMOVED)
    except UnreadableEvent as fault:
        yield fault


def _event(detail: Any, *, removed: bool) -> UploadEvent:
    item = member(detail, "object")
    return UploadEvent(
        bucket=text(member(member(detail, "bucket"), "name"), "bucket"),
        key=text(member(item, "key"), "key"),
        etag=etag(optional(item, "etag")),
        version_id=optional(item, "version-id") or None,
        sequencer=sequencer(optional(item, "sequencer")),
        removed=removed,
    )
