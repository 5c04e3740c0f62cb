"""Events of every dialect, as stores were seen to send them (events.md), and bent ones."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.keys import MAX_ID, original_key, thumbnail_key
from shared.notifications import Reading, UploadEvent, read

BUCKET = "b"
KEY = "attachments/files/000/000/004/original/a_b.png"
FOLDER = "attachments/files/000/000/004/original"

AWS = json.loads("""
{"Records":[{"eventVersion":"2.5","eventSource":"aws:s3","awsRegion":"eu-west-1",
"eventTime":"2026-11-23T10:00:00.000Z","eventName":"ObjectCreated:Post","s3":{
"s3SchemaVersion":"1.0","configurationId":"up","bucket":{"name":"b","arn":"arn:aws:s3:::b"},
"object":{"key":"attachments/files/000/000/004/original/a_b.png","size":3479,"eTag":"d41d8c",
"versionId":"v1","sequencer":"0064D3901D00059242"}}}]}
""")
MINIO = json.loads("""
{"EventName":"s3:ObjectCreated:Post","Key":"b/attachments/files/000/000/004/original/a_b.png",
"Records":[{"eventVersion":"2.0","eventSource":"minio:s3","eventName":"s3:ObjectCreated:Post",
"s3":{"bucket":{"name":"b"},"object":{
"key":"attachments%2Ffiles%2F000%2F000%2F004%2Foriginal%2Fa_b.png","size":3479,"eTag":"d41d8c",
"contentType":"image/png","userMetadata":{},"sequencer":"18AB5F2C90C4E9D5"}},
"source":{"host":"","port":"","userAgent":""}}]}
""")
RUSTFS = json.loads(json.dumps(MINIO).replace("minio:s3", "rustfs:s3"))
SEAWEEDFS = json.loads("""
{"event_type":"create","key":"/buckets/b/attachments/files/000/000/004/original/a_b.png",
"message":{"new_entry":{"name":"a_b.png","chunks":[{"size":500,
"modified_ts_ns":1795458846728484628,"e_tag":"hsSJ36fnikh6BrGGCAWwhg=="}],"attributes":{
"file_size":500,"mtime":1795458846,"mime":"image/png","md5":"hsSJ36fnikh6BrGGCAWwhg=="},
"extended":{"Seaweed-X-Amz-ETag":"ODZjNDg5ZGZhN2U3OGE0ODdhMDZiMTg2MDgwNWIwODY="}},
"delete_chunks":true,"new_parent_path":"/buckets/b/attachments/files/000/000/004/original"}}
""")
TEST_EVENT = {
    "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T10:00:00.000Z",
    "Bucket": "b", "RequestId": "R", "HostId": "H",
}  # fmt: skip
SEAWEEDFS_ETAG = "86c489dfa7e78a487a06b1860805b086"


def changed(sample: Any, path: str, value: Any) -> Any:
    """Copy a sample with one member changed, named by its dotted path; ... takes it out."""
    copy = json.loads(json.dumps(sample))
    inner = copy
    *parents, last = path.split(".")
    for name in parents:
        inner = inner[int(name) if isinstance(inner, list) else name]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return copy


def the_event(document: Any) -> UploadEvent:
    """Read a message that holds one event and nothing else."""
    reading = read(document, bucket=BUCKET)
    assert (reading.faults, reading.ignored) == ([], 0)
    (event,) = reading.events
    return event


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            AWS,
            UploadEvent(
                bucket="b", key=KEY, etag="d41d8c", version_id="v1", sequencer="0064D3901D00059242"
            ),
            id="aws",
        ),
        pytest.param(
            MINIO,
            UploadEvent(bucket="b", key=KEY, etag="d41d8c", sequencer="18AB5F2C90C4E9D5"),
            id="minio",
        ),
        pytest.param(
            RUSTFS,
            UploadEvent(bucket="b", key=KEY, etag="d41d8c", sequencer="18AB5F2C90C4E9D5"),
            id="rustfs",
        ),
        pytest.param(
            SEAWEEDFS, UploadEvent(bucket="b", key=KEY, etag=SEAWEEDFS_ETAG), id="seaweedfs"
        ),
    ],
)
def test_a_sample_of_each_store_is_read(document: Any, expected: UploadEvent) -> None:
    assert the_event(document) == expected


OBJECT = "Records.0.s3.object"


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.5", "2.99"])
def test_any_version_2_is_read_alike(version: str) -> None:
    assert the_event(changed(AWS, "Records.0.eventVersion", version)) == the_event(AWS)


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:Put", "ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectCreated:Post",
    ],
)  # fmt: skip
def test_every_way_of_creation_is_an_upload(name: str) -> None:
    assert not the_event(changed(AWS, "Records.0.eventName", name)).removed


@pytest.mark.parametrize(
    "name",
    ["ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "s3:ObjectRemoved:Delete"],
)
def test_a_removal_is_told_apart(name: str) -> None:
    assert the_event(changed(AWS, "Records.0.eventName", name)).removed


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        (f"{OBJECT}.eTag", '"d41d8c"', "etag", "d41d8c"),
        (f"{OBJECT}.eTag", "", "etag", None),
        (f"{OBJECT}.eTag", None, "etag", None),
        (f"{OBJECT}.eTag", 5, "etag", None),
        (f"{OBJECT}.eTag", ..., "etag", None),
        (f"{OBJECT}.versionId", "", "version_id", None),
        (f"{OBJECT}.versionId", ..., "version_id", None),
        (f"{OBJECT}.sequencer", "00ab", "sequencer", "00AB"),
        (f"{OBJECT}.sequencer", ..., "sequencer", None),
        (f"{OBJECT}.sequencer", "", "sequencer", None),
        (f"{OBJECT}.sequencer", "not hex", "sequencer", None),
        (f"{OBJECT}.sequencer", 5, "sequencer", None),
        (f"{OBJECT}.sequencer", "A" * 65, "sequencer", None),
        ("Records.0.s3.configurationId", "webhook-global", "sequencer", None),
    ],
)
def test_what_an_event_does_not_tell_is_none(
    path: str, value: Any, field: str, expected: str | None
) -> None:
    event = the_event(changed(AWS, path, value))
    assert event.key == KEY
    assert getattr(event, field) == expected


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(KEY.replace("/", "%2F"), id="slashes-encoded"),
        pytest.param(KEY.replace("/", "%2f"), id="lower-case"),
        pytest.param(KEY.replace("a_b", "%61%5Fb"), id="letters-encoded"),
    ],
)
def test_row54_a_key_is_decoded(key: str) -> None:
    assert the_event(changed(AWS, f"{OBJECT}.key", key)).key == KEY


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(KEY.replace("/", "%252F"), id="row54-twice"),
        pytest.param(KEY.replace("a_b", "a+b"), id="row54-plus-is-a-space"),
        pytest.param(KEY.replace("a_b", "a%2Bb"), id="row54-encoded-plus"),
        pytest.param(KEY.replace("a_b", "a%00b"), id="row54-nul"),
        pytest.param(KEY.replace("a_b", "a%ffb"), id="row54-no-utf-8"),
        pytest.param(KEY.replace("a_b", "..%2Fb"), id="row54-climbing"),
        pytest.param(thumbnail_key(KEY), id="row55-thumbnail"),
        pytest.param(KEY.replace("/original/", "/small/"), id="row55-other-style"),
        pytest.param("other/" + KEY, id="row53-prefix"),
        pytest.param("/" + KEY, id="row53-leading-slash"),
        pytest.param(KEY.replace("000/000/004", "4"), id="row53-short-partition"),
        pytest.param(KEY.replace("000/000/004", "000/000/000/004"), id="row53-long-partition"),
        pytest.param(KEY.replace("000/000/004", "999/" * 7 + "999"), id="row53-beyond-bigint"),
        pytest.param(KEY.replace("004", "00٤"), id="row53-arabic-digit"),
        pytest.param(KEY.rpartition("/")[0] + "/", id="row53-folder"),
    ],
)
def test_a_key_that_is_no_original_of_ours_is_ignored(key: str) -> None:
    for sample in (AWS, MINIO):
        reading = read(changed(sample, f"{OBJECT}.key", key), bucket=BUCKET)
        assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(changed(AWS, "Records.0.s3.bucket.name", "other"), id="row52-aws"),
        pytest.param(changed(AWS, "Records.0.s3.bucket.name", "B"), id="row52-upper-case"),
        pytest.param(changed(AWS, "Records.0.eventName", "ObjectRestore:Post"), id="row50-restore"),
        pytest.param(changed(AWS, "Records.0.eventName", "ReducedRedundancyLostObject"), id="rrs"),
        pytest.param(TEST_EVENT, id="row50-test-event"),
        pytest.param({**TEST_EVENT, "Records": None}, id="row50-test-event-records-null"),
        pytest.param({**TEST_EVENT, "Records": 5}, id="row50-test-event-records-number"),
        pytest.param({"Event": "s3:TestEvent"}, id="row50-test-event-of-versitygw"),
    ],
)
def test_what_concerns_no_object_of_ours_is_counted(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


def test_row51_no_records_are_no_work() -> None:
    assert read({"Records": []}, bucket=BUCKET) == Reading(dialect="aws")


@pytest.mark.parametrize(
    "document",
    [
        None, True, 0, 1.5, "", "text", [], [AWS], {}, {"Records": None}, {"Records": {}},
        {"Records": "x"}, {"Event": "s3:OtherEvent"}, {"event_type": "create"}, {"message": {}},
        changed(AWS, "Records.0.eventSource", "aws:ec2"),
    ],
)  # fmt: skip
def test_a_message_of_no_dialect_is_one_fault(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == (None, [], 1)


@pytest.mark.parametrize(
    "record",
    [
        None, 1, "x", [], {}, {"eventName": None}, {"eventName": 5},
        {"eventName": "ObjectCreated:Put"}, {"eventName": "ObjectCreated:Put", "s3": None},
        {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": KEY}}},
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}},
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": 5}, "object": {"key": KEY}}},
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": "b", "object": {"key": KEY}}},
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": KEY}},
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": ""}}},
        changed(AWS, f"{OBJECT}.eTag", "a\0b")["Records"][0],
        changed(AWS, f"{OBJECT}.eTag", "é")["Records"][0],
        changed(AWS, f"{OBJECT}.versionId", "v" * 2000)["Records"][0],
    ],
)  # fmt: skip
def test_row61_a_bad_record_costs_only_itself(record: Any) -> None:
    other = changed(AWS, f"{OBJECT}.key", KEY.replace("004", "005"))["Records"][0]
    reading = read({"Records": [AWS["Records"][0], record, other]}, bucket=BUCKET)
    assert [event.key for event in reading.events] == [KEY, KEY.replace("004", "005")]
    assert len(reading.faults) == 1


def records(*events: tuple[str, str | None, str]) -> Any:
    """Make a message of records of one key: name, sequencer, etag."""
    found = []
    for name, sequencer, etag in events:
        record = changed(AWS, "Records.0.eventName", name)
        record = changed(record, f"{OBJECT}.eTag", etag)
        record = changed(record, f"{OBJECT}.sequencer", sequencer)
        found += record["Records"]
    return {"Records": found}


CREATED, REMOVED = "ObjectCreated:Put", "ObjectRemoved:Delete"


@pytest.mark.parametrize(
    ("events", "etag", "removed"),
    [
        pytest.param([(CREATED, "01", "a"), (CREATED, "02", "b")], "b", False, id="in-order"),
        pytest.param([(CREATED, "02", "b"), (CREATED, "01", "a")], "b", False, id="shuffled"),
        pytest.param([(CREATED, "1", "a"), (CREATED, "0F", "b")], "a", False, id="padded-right"),
        pytest.param([(CREATED, "10", "a"), (CREATED, "1", "b")], "a", False, id="equal-padded"),
        pytest.param([(CREATED, "1", "a"), (CREATED, "1001", "b")], "b", False, id="longer-later"),
        pytest.param([(CREATED, "0a", "a"), (CREATED, "0B", "b")], "b", False, id="mixed-case"),
        pytest.param([(CREATED, None, "a"), (CREATED, None, "b")], "b", False, id="no-sequencer"),
        pytest.param([(REMOVED, "02", ""), (CREATED, "01", "a")], None, True, id="removed-later"),
        pytest.param([(REMOVED, "01", ""), (CREATED, "02", "a")], "a", False, id="removed-before"),
        pytest.param([(CREATED, None, "a"), (REMOVED, None, "")], "a", False, id="removed-somehow"),
    ],
)
def test_of_several_events_of_a_key_the_newest_counts(
    events: list[tuple[str, str | None, str]], etag: str | None, removed: bool
) -> None:
    event = the_event(records(*events))
    assert (event.etag, event.removed) == (etag, removed)


# -- SeaweedFS ----------------------------------------------------------------------------------


def test_an_overwrite_is_an_upload() -> None:
    update = changed(SEAWEEDFS, "event_type", "update")
    update["message"]["old_entry"] = {"name": "a_b.png", "attributes": {"md5": "AAAA"}}
    assert the_event(update) == the_event(SEAWEEDFS)


def test_a_delete_is_a_removal() -> None:
    document = {
        "event_type": "delete",
        "key": f"/buckets/b/{KEY}",
        "message": {"old_entry": SEAWEEDFS["message"]["new_entry"], "delete_chunks": True},
    }
    assert the_event(document) == UploadEvent(bucket="b", key=KEY, removed=True)


def renamed(old: str, new_parent: Any, new_name: Any) -> Any:
    """Make the message of a move."""
    entry = {**SEAWEEDFS["message"]["new_entry"], "name": new_name}
    return {
        "event_type": "rename",
        "key": old,
        "message": {"old_entry": {"name": "x"}, "new_entry": entry, "new_parent_path": new_parent},
    }


def test_a_move_to_an_original_is_an_upload() -> None:
    reading = read(renamed("/buckets/b/tmp/x", f"/buckets/b/{FOLDER}", "a_b.png"), bucket=BUCKET)
    assert reading.events == [UploadEvent(bucket="b", key=KEY, etag=SEAWEEDFS_ETAG)]
    assert reading.ignored == 1


def test_a_move_of_an_original_is_a_removal() -> None:
    reading = read(renamed(f"/buckets/b/{KEY}", "/buckets/b/trash", "x"), bucket=BUCKET)
    assert reading.events == [UploadEvent(bucket="b", key=KEY, removed=True)]
    assert reading.ignored == 1


def test_a_move_from_one_original_to_another_is_both() -> None:
    other = KEY.replace("004", "005")
    document = renamed(f"/buckets/b/{KEY}", f"/buckets/b/{FOLDER.replace('004', '005')}", "a_b.png")
    reading = read(document, bucket=BUCKET)
    assert [(event.key, event.removed) for event in reading.events] == [(KEY, True), (other, False)]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            changed(SEAWEEDFS, "message.new_entry.is_directory", True), id="row53-directory"
        ),
        pytest.param(
            changed(SEAWEEDFS, "key", f"/buckets/b/.uploads/1_a/{KEY}"), id="row53-upload-part"
        ),
        pytest.param(
            changed(SEAWEEDFS, "key", f"/buckets/.system/b/{KEY}"), id="row52-system"
        ),
        pytest.param(changed(SEAWEEDFS, "key", f"/buckets/other/{KEY}"), id="row52-other-bucket"),
        pytest.param(changed(SEAWEEDFS, "key", "/buckets/b"), id="row53-bucket-itself"),
        pytest.param(changed(SEAWEEDFS, "key", "/buckets/"), id="row53-root"),
        pytest.param(changed(SEAWEEDFS, "key", f"/etc/b/{KEY}"), id="row53-elsewhere"),
        pytest.param(changed(SEAWEEDFS, "key", KEY), id="row53-no-root"),
        pytest.param(
            changed(SEAWEEDFS, "key", f"/buckets/b/{thumbnail_key(KEY)}"), id="row55-thumbnail"
        ),
        pytest.param(
            changed(SEAWEEDFS, "key", f"/buckets/b/{quote(KEY, safe='')}"), id="row54-encoded"
        ),
        pytest.param(changed(SEAWEEDFS, "event_type", "exist"), id="row53-unknown-kind"),
        pytest.param(
            {"event_type": "delete", "key": f"/buckets/b/{FOLDER}",
             "message": {"old_entry": {"is_directory": True}}}, id="row53-directory-removed",
        ),
    ],
)  # fmt: skip
def test_what_the_filer_says_of_anything_else_is_ignored(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.dialect, reading.events, reading.faults) == ("seaweedfs", [], [])
    assert reading.ignored == 1


@pytest.mark.parametrize(
    "document",
    [
        changed(SEAWEEDFS, "key", None), changed(SEAWEEDFS, "key", ...),
        changed(SEAWEEDFS, "event_type", 5), changed(SEAWEEDFS, "message", "x"),
        changed(SEAWEEDFS, "message.new_entry", ...), changed(SEAWEEDFS, "message.new_entry", 5),
        changed(SEAWEEDFS, "message.new_entry", None),
    ],
)  # fmt: skip
def test_a_message_of_the_filer_that_says_nothing_is_a_fault(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.events, len(reading.faults), reading.ignored) == ([], 1, 0)


ENTRY = "message.new_entry"
KEPT = f"{ENTRY}.extended.Seaweed-X-Amz-ETag"


@pytest.mark.parametrize(
    ("document", "etag"),
    [
        pytest.param(changed(SEAWEEDFS, f"{ENTRY}.chunks", ...), SEAWEEDFS_ETAG, id="no-chunks"),
        pytest.param(
            changed(SEAWEEDFS, f"{ENTRY}.extended", ...), SEAWEEDFS_ETAG, id="md5-of-the-whole"
        ),
        pytest.param(changed(SEAWEEDFS, KEPT, "%%%"), SEAWEEDFS_ETAG, id="kept-is-no-base64"),
        pytest.param(changed(SEAWEEDFS, KEPT, 5), SEAWEEDFS_ETAG, id="kept-is-a-number"),
        pytest.param(changed(SEAWEEDFS, KEPT, "/w=="), SEAWEEDFS_ETAG, id="kept-is-no-ascii"),
        pytest.param(
            changed(SEAWEEDFS, KEPT, base64.b64encode(b"ab-3").decode()), "ab-3", id="multipart"
        ),
        pytest.param(
            changed(SEAWEEDFS, KEPT, base64.b64encode(b'"ab"').decode()), "ab", id="quoted"
        ),
        pytest.param(
            changed(changed(SEAWEEDFS, f"{ENTRY}.extended", None), f"{ENTRY}.attributes", []),
            None, id="neither",
        ),
    ],
)  # fmt: skip
def test_the_etag_is_found_where_the_filer_keeps_it(document: Any, etag: str | None) -> None:
    assert the_event(document).etag == etag


# -- any name, any document ---------------------------------------------------------------------

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=255
).filter(str.strip)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(name=NAMES, attachment_id=st.integers(1, MAX_ID))
def test_any_name_comes_back_from_every_store(name: str, attachment_id: int) -> None:
    key = original_key(attachment_id, name)
    folder, _, file_name = key.rpartition("/")
    filer = changed(SEAWEEDFS, "key", f"/buckets/b/{key}")
    for document in (
        changed(AWS, f"{OBJECT}.key", quote_plus(key, safe="/")),
        changed(MINIO, f"{OBJECT}.key", quote_plus(key)),
        changed(RUSTFS, f"{OBJECT}.key", quote_plus(key)),
        filer,
        changed(filer, "event_type", "update"),
    ):
        assert the_event(document).key == key
    moved = read(renamed("/buckets/b/x", f"/buckets/b/{folder}", file_name), bucket=BUCKET)
    assert [event.key for event in moved.events] == [key]
    thumbnail = changed(AWS, f"{OBJECT}.key", quote_plus(thumbnail_key(key), safe="/"))
    assert read(thumbnail, bucket=BUCKET).events == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
PARTS = st.sampled_from(
    ["Records", "Records.0", "Records.0.eventName", "Records.0.eventSource", "Records.0.s3",
     "Records.0.s3.bucket", "Records.0.s3.bucket.name", OBJECT, f"{OBJECT}.key",
     f"{OBJECT}.eTag", f"{OBJECT}.sequencer", f"{OBJECT}.versionId"]
)  # fmt: skip
FILER_PARTS = st.sampled_from(
    ["event_type", "key", "message", ENTRY, f"{ENTRY}.attributes", f"{ENTRY}.extended", KEPT,
     f"{ENTRY}.name", f"{ENTRY}.attributes.md5", "message.new_parent_path"]
)  # fmt: skip
KINDS = st.sampled_from(["create", "update", "rename", "delete"])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(part=PARTS, filer_part=FILER_PARTS, kind=KINDS, value=JSON)
def test_no_document_makes_reading_fail(part: str, filer_part: str, kind: str, value: Any) -> None:
    filer = changed(SEAWEEDFS, "event_type", kind)
    for document in (
        value, changed(AWS, part, value), changed(MINIO, part, value),
        changed(filer, filer_part, value),
    ):  # fmt: skip
        reading = read(document, bucket=BUCKET)
        for event in reading.events:
            assert event.bucket == BUCKET
            assert event.key == KEY
