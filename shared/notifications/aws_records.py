"""`Records` as S3 writes them, and as MinIO and RustFS do after it.

Source: Amazon S3 User Guide, "Event message structure"; any version 2.x is read alike. MinIO and
RustFS keep the `s3:` in event names and write `/` in keys as `%2F`.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent

SOURCES = ("aws:s3", "minio:s3", "rustfs:s3")
VERSITYGW = "webhook-global"
"""The configuration by which versitygw is told apart; it calls itself `aws:s3`."""

_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,64}")


def recognises(document: Any) -> bool:
    """Whether it is a list of records, or the message that S3 sends when it is set up."""
    if not isinstance(document, dict):
        return False
    if document.get("Event") == "s3:TestEvent":
        return True
    records = document.get("Records")
    return isinstance(records, list) and all(
        not isinstance(record, dict)
        or not isinstance(record.get("eventSource"), str)
        or record["eventSource"] in SOURCES
        for record in records
    )


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read each record by itself; a bad one costs only itself."""
    records = document.get("Records")
    if not isinstance(records, list):  # S3's message of its setup
        yield None
        return
    for record in records:
        try:
            yield _event(record)
        except UnreadableEvent as fault:
            yield fault


def _event(record: Any) -> UploadEvent | None:
    name = _text(_member(record, "eventName"), "eventName").removeprefix("s3:")
    if not name.startswith(("ObjectCreated:", "ObjectRemoved:")):
        return None
    s3 = _member(record, "s3")
    item = _member(s3, "object")
    sequencer = _optional(item, "sequencer")
    if sequencer is not None and not _SEQUENCER.fullmatch(sequencer):
        sequencer = None
    if s3.get("configurationId") == VERSITYGW:
        sequencer = None  # its order is not known to be that of the objects
    key = unquote_plus(_text(_member(item, "key"), "key"), errors="surrogateescape")
    return UploadEvent(
        bucket=_text(_member(_member(s3, "bucket"), "name"), "bucket"),
        key=key,
        etag=(_optional(item, "eTag") or "").strip('"') or None,
        version_id=_optional(item, "versionId") or None,
        sequencer=sequencer.upper() if sequencer else None,
        removed=name.startswith("ObjectRemoved:"),
    )


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise UnreadableEvent(f"record has no {name}")
    return value[name]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise UnreadableEvent(f"{name} is not a string")
    return value


def _optional(item: Any, name: str) -> str | None:
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, str) else None
