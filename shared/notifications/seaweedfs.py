"""The webhook messages of SeaweedFS's filer, version 4.48, which are not like S3's.

Keys are paths below `/buckets/`, not encoded. A new object is a `create`, an overwrite an `update`,
and a move a `rename`. The key of a `rename` is the old path, at which the object is removed.
Directories, settings of buckets and parts of unfinished multipart uploads (`.uploads`) are reported
in the same way and are ignored. The messages have nothing that orders events.

In a versioned bucket the object `K` is a directory `K.versions`, with one file `v_<version id>` for
each version and each delete marker. If versioning is suspended, new objects are stored at `K`
again, and the directory has only the delete marker `v_null`. This service's keys have no slash
after the file name, so a client's file name, even `x.versions`, cannot look like such a path.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

from shared.errors import UnreadableEvent
from shared.notifications.event import UploadEvent

ROOT = "/buckets/"
_VERSION = re.compile(r"(?P<key>.+)\.versions/v_(?P<id>[0-9A-Za-z]+)", re.DOTALL)

Kind = Literal["create", "update", "rename", "delete"]
KINDS: Final = get_args(Kind)


def recognises(document: Any) -> bool:
    """Return whether a document is a message of SeaweedFS's filer."""
    return isinstance(document, dict) and {"event_type", "message"} <= document.keys()


def parse(document: Any) -> Iterator[UploadEvent | UnreadableEvent | None]:
    """Yield the events of a message. A move yields a removal and a creation."""
    path, kind, message = document.get("key"), document["event_type"], document["message"]
    if not isinstance(path, str) or not isinstance(kind, str) or not isinstance(message, dict):
        yield UnreadableEvent("key, event_type or message has the wrong type")
        return
    if kind not in KINDS:
        yield None
        return
    if kind in ("delete", "rename"):
        yield _event(path, message.get("old_entry"), removed=True)
    if kind == "delete":
        return
    entry = message.get("new_entry")
    if not isinstance(entry, dict):
        yield UnreadableEvent("message has no new_entry")
        return
    if kind == "rename":
        parent, name = message.get("new_parent_path"), entry.get("name")
        if not isinstance(parent, str) or not isinstance(name, str):
            yield UnreadableEvent("new_parent_path or name is not a string")
            return
        path = f"{parent}/{name}"
    yield _event(path, entry, removed=False)


def _event(path: str, entry: Any, *, removed: bool) -> UploadEvent | None:
    bucket, _, key = path.removeprefix(ROOT).partition("/")
    if not path.startswith(ROOT) or not key or key.startswith(".uploads/"):
        return None
    if isinstance(entry, dict) and entry.get("is_directory"):
        return None
    if version := _VERSION.fullmatch(key):
        return _of_version(bucket, version, entry, removed=removed)
    return UploadEvent(
        bucket=bucket, key=key, etag=None if removed else _etag(entry), removed=removed
    )


def _of_version(
    bucket: str, version: re.Match[str], entry: Any, *, removed: bool
) -> UploadEvent | None:
    """Return the event about the file of a version, or None.

    SeaweedFS updates an old version when a newer one replaces it. That event is ignored, because it
    says nothing about the current object. If any version is removed, the event only makes the sweep
    ask the store.
    """
    if not removed and _extended(entry, "Noncurrent-Since-Ns"):
        return None
    if removed or _extended(entry, "Delete-Marker") == "true":
        return UploadEvent(bucket=bucket, key=version["key"], removed=True)
    if _extended(entry, "Version-Id") != version["id"]:
        return None
    return UploadEvent(
        bucket=bucket,
        key=version["key"],
        etag=_etag(entry),
        version_id=None if version["id"] == "null" else version["id"],
    )


def _etag(entry: Any) -> str | None:
    """Return the ETag that S3 clients see: the stored attribute, or else the object's MD5."""
    if etag := (_extended(entry, "ETag") or "").strip('"'):
        return etag
    try:
        return base64.b64decode(entry["attributes"]["md5"], validate=True).hex() or None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def _extended(entry: Any, name: str) -> str | None:
    """Return an attribute, which is stored in Base64, or None if it is missing."""
    try:
        kept = entry["extended"][f"Seaweed-X-Amz-{name}"]
        return base64.b64decode(kept, validate=True).decode("ascii")
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
