"""S3 messages that each differ from a valid message in one record."""

from typing import Any

import pytest

from shared.keys import thumbnail_key
from shared.notifications import Reading, read
from tests.support.dialects import changed, sample
from tests.support.messages import BUCKET, the_event

KEY = "attachments/files/000/000/004/original/a_b.png"
OBJECT = "Records.0.s3.object"
AWS, MINIO = sample("aws"), sample("minio")
TEST_EVENT = sample("aws-test-event")


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.5", "2.99"])
def test_any_version_2_is_read_alike(version: str) -> None:
    assert the_event(changed(AWS, "Records.0.eventVersion", version)) == the_event(AWS)


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:Put",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "s3:ObjectCreated:Post",
    ],
)
def test_every_way_of_creation_is_an_upload(name: str) -> None:
    assert not the_event(changed(AWS, "Records.0.eventName", name)).removed


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "s3:ObjectRemoved:Delete",
        "LifecycleExpiration:Delete",
        "s3:LifecycleExpiration:DeleteMarkerCreated",
        "ObjectLifecycle:Expiration:Current",
    ],
)
def test_a_removal_is_distinguished(name: str) -> None:
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
def test_missing_fields_of_an_event_are_none(
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
    for document in (AWS, MINIO):
        reading = read(changed(document, f"{OBJECT}.key", key), bucket=BUCKET)
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
def test_records_of_foreign_objects_are_counted(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


def test_row51_no_records_are_no_work() -> None:
    assert read({"Records": []}, bucket=BUCKET) == Reading(dialect="aws")


@pytest.mark.parametrize(
    "document",
    [
        None,
        True,
        0,
        1.5,
        "",
        "text",
        [],
        [AWS],
        {},
        {"Records": None},
        {"Records": {}},
        {"Records": "x"},
        {"Event": "s3:OtherEvent"},
        {"event_type": "create"},
        {"message": {}},
        changed(AWS, "Records.0.eventSource", "aws:ec2"),
    ],
)
def test_a_message_of_no_dialect_is_one_fault(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == (None, [], 1)


@pytest.mark.parametrize(
    "record",
    [
        None,
        1,
        "x",
        [],
        {},
        {"eventName": None},
        {"eventName": 5},
        {"eventName": "ObjectCreated:Put"},
        {"eventName": "ObjectCreated:Put", "s3": None},
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
)
def test_row61_a_bad_record_costs_only_itself(record: Any) -> None:
    other = changed(AWS, f"{OBJECT}.key", KEY.replace("004", "005"))["Records"][0]
    reading = read({"Records": [AWS["Records"][0], record, other]}, bucket=BUCKET)
    assert [event.key for event in reading.events] == [KEY, KEY.replace("004", "005")]
    assert len(reading.faults) == 1


def records(*events: tuple[str, str | None, str]) -> Any:
    """Make a message with one record for each event, given as its name, sequencer and etag."""
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


@pytest.mark.parametrize("record", [None, {"eventSource": "x:s3"}], ids=["of-none", "of-unknown"])
@pytest.mark.parametrize("bad", [99, 100, 101, 999])
def test_row61_bad_records_may_be_many_and_come_first(bad: int, record: Any) -> None:
    reading = read({"Records": [record] * bad + MINIO["Records"]}, bucket=BUCKET)
    assert (reading.dialect, len(reading.events), len(reading.faults)) == ("minio", 1, bad)
