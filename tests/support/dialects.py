"""Messages of every dialect, as stores write them. They are made from files in `data/events`."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

FOLDER = Path(__file__).parents[1] / "data" / "events"
SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
"""One sample message of each kind, by file name.

Each message is about one object in the bucket `b`.
"""

TOPIC = "arn:aws:sns:eu-west-1:123456789012:uploads"
MEMBERS = ("etag", "version_id", "sequencer", "size")


def sample(name: str) -> Any:
    """Return a fresh copy of a sample message."""
    return json.loads(json.dumps(SAMPLES[name]))


def changed(document: Any, path: str, value: Any) -> Any:
    """Copy a document and change the member at a dotted path; the value `...` removes it."""
    copy = json.loads(json.dumps(document))
    inner = copy
    *parents, last = path.split(".")
    for name in parents:
        inner = inner[int(name) if isinstance(inner, list) else name]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The form in which one store writes its events.

    `write(bucket, key, removed, item)` makes the event of one object. `wrap` makes one message of
    many events; it is None if a message holds only one event. `encode` encodes a key as the store
    does. `ordered` is true if events have a sequencer that orders them. `versions` is true if
    events name a version of the object.
    """

    name: str
    label: str
    encode: Callable[[str], str]
    write: Callable[[str, str, bool, dict[str, Any]], Any]
    wrap: Callable[[list[Any]], Any] | None
    ordered: bool
    versions: bool = True

    def make_event(
        self, bucket: str, key: str, *, removed: bool = False, encoded: bool = False, **item: Any
    ) -> Any:
        """Make the event of one object. `item` may set the members in MEMBERS.

        If `encoded` is true, the key is already encoded and is written unchanged.
        """
        assert item.keys() <= set(MEMBERS)
        return self.write(bucket, key if encoded else self.encode(key), removed, item)

    def message(self, *sent: Any) -> Any:
        """Make a message from events that `make_event` returned."""
        if self.wrap is not None:
            return self.wrap(list(sent))
        (only,) = sent
        return only


def _record_writer(name: str) -> Callable[[str, str, bool, dict[str, Any]], Any]:
    names = {"etag": "eTag", "version_id": "versionId", "sequencer": "sequencer", "size": "size"}

    def write(bucket: str, key: str, removed: bool, item: dict[str, Any]) -> Any:
        record = sample(name)["Records"][0]
        if removed:
            record["eventName"] = record["eventName"].partition("Object")[0] + (
                "ObjectRemoved:Delete"
            )
        record["s3"]["bucket"]["name"] = bucket
        sent = record["s3"]["object"]
        for member in names.values():
            sent.pop(member, None)
        sent.update({"key": key}, **{names[member]: value for member, value in item.items()})
        return record

    return write


def _write_eventbridge(bucket: str, key: str, removed: bool, item: dict[str, Any]) -> Any:
    event = sample("eventbridge-deleted" if removed else "eventbridge-created")
    event["resources"] = [f"arn:aws:s3:::{bucket}"]
    sent = {member.replace("_", "-"): value for member, value in item.items()}
    event["detail"].update(bucket={"name": bucket}, object={"key": key, **sent})
    return event


def _write_filer(bucket: str, key: str, removed: bool, item: dict[str, Any]) -> Any:
    event = sample("seaweedfs-delete" if removed else "seaweedfs-create")
    event["key"] = f"/buckets/{bucket}/{key}"
    folder, _, name = event["key"].rpartition("/")
    entry = event["message"]["old_entry" if removed else "new_entry"]
    entry["name"] = name
    if not removed:
        event["message"]["new_parent_path"] = folder
    entry["attributes"].pop("md5")
    entry.pop("extended")
    if "etag" in item:
        etag = item["etag"]
        kept = base64.b64encode(etag.encode()).decode() if isinstance(etag, str) else etag
        entry["extended"] = {"Seaweed-X-Amz-ETag": kept}
    if "size" in item:
        entry["attributes"]["file_size"] = item["size"]
    return event


def _records(records: list[Any]) -> Any:
    return {"Records": records}


def _minio_envelope(records: list[Any]) -> Any:
    first = records[0] if records and isinstance(records[0], dict) else {}
    return {"EventName": first.get("eventName", ""), "Key": "", "Records": records}


def _notification(records: list[Any]) -> Any:
    return {**sample("sns-v2"), "Message": json.dumps(_records(records))}


def _plain(key: str) -> str:
    return key


AWS = Dialect(
    name="aws",
    label="aws",
    encode=lambda key: quote_plus(key, safe="/"),
    write=_record_writer("aws"),
    wrap=_records,
    ordered=True,
)
SNS = Dialect(
    name="sns",
    label="sns/aws",
    encode=AWS.encode,
    write=AWS.write,
    wrap=_notification,
    ordered=True,
)
EVENTBRIDGE = Dialect(
    name="eventbridge",
    label="eventbridge",
    encode=_plain,
    write=_write_eventbridge,
    wrap=None,
    ordered=True,
)
MINIO = Dialect(
    name="minio",
    label="minio",
    encode=quote_plus,
    write=_record_writer("minio"),
    wrap=_minio_envelope,
    ordered=True,
)
RUSTFS = Dialect(
    name="rustfs",
    label="rustfs",
    encode=quote_plus,
    write=_record_writer("rustfs"),
    wrap=_minio_envelope,
    ordered=True,
)
CEPH = Dialect(
    name="ceph",
    label="ceph",
    encode=_plain,
    write=_record_writer("ceph"),
    wrap=_records,
    ordered=False,
)
SEAWEEDFS = Dialect(
    name="seaweedfs",
    label="seaweedfs",
    encode=_plain,
    write=_write_filer,
    wrap=None,
    ordered=False,
    versions=False,
)
VERSITYGW = Dialect(
    name="versitygw",
    label="versitygw",
    encode=quote,
    write=_record_writer("versitygw"),
    wrap=_records,
    ordered=False,
)
VERSITYGW_BARE = Dialect(
    name="versitygw-bare",
    label="versitygw",
    encode=quote,
    write=_record_writer("versitygw"),
    wrap=list,
    ordered=False,
)

DIALECTS = (
    AWS,
    SNS,
    EVENTBRIDGE,
    MINIO,
    RUSTFS,
    CEPH,
    SEAWEEDFS,
    VERSITYGW,
    VERSITYGW_BARE,
)
BATCHING = tuple(dialect for dialect in DIALECTS if dialect.wrap is not None)
ORDERED = tuple(dialect for dialect in DIALECTS if dialect.ordered)
UNORDERED = tuple(dialect for dialect in DIALECTS if not dialect.ordered)
