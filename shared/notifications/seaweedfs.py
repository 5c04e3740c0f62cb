"""The webhook of SeaweedFS's filer, as version 4.48 sends it; it is not S3-shaped.

Keys are paths below `/buckets/`, not encoded. A new object is `create`, an overwrite `update`, a
move `rename`. Directories, the settings of buckets and the parts of unfinished multipart uploads
(`.uploads`) come the same way and concern no one here. Nothing in it orders events.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent

ROOT = "/buckets/"


def recognises(document: Any) -> bool:
    """Whether it is one of the filer's messages."""
    return isinstance(document, dict) and {"event_type", "message"} <= document.keys()


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Read the one event of a message."""
    path, kind, message = document.get("key"), document["event_type"], document["message"]
    if not isinstance(path, str) or not isinstance(kind, str) or not isinstance(message, dict):
        yield UnreadableEvent("key, event_type or message has the wrong type")
        return
    removed = kind == "delete"
    entry = message.get("old_entry" if removed else "new_entry")
    if kind == "rename" and isinstance(message.get("new_parent_path"), str):
        name = entry.get("name") if isinstance(entry, dict) else None
        path = f"{message['new_parent_path']}/{name}"
    bucket, _, key = path.removeprefix(ROOT).partition("/")
    if not path.startswith(ROOT) or not key or key.startswith(".uploads/"):
        yield None
        return
    if entry is None and not removed:
        yield UnreadableEvent("message has no new_entry")
        return
    if isinstance(entry, dict) and entry.get("is_directory"):
        yield None
        return
    yield UploadEvent(
        bucket=bucket, key=key, etag=None if removed else _etag(entry), removed=removed
    )


def _etag(entry: Any) -> str | None:
    """Find the ETag that S3 clients see: kept as Base64 of its text, else the MD5 of the whole."""
    try:
        kept = entry["extended"]["Seaweed-X-Amz-ETag"]
        return base64.b64decode(kept, validate=True).decode("ascii").strip('"') or None
    except (KeyError, TypeError, ValueError, binascii.Error):
        pass
    try:
        return base64.b64decode(entry["attributes"]["md5"], validate=True).hex() or None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
