"""Sample messages of each dialect, as stores send them, and the events that the service reads."""

import json
from typing import Any

import pytest

from shared.keys import original_key
from shared.notifications import Reading, UploadEvent, read, versitygw
from tests.support.dialects import BATCHING, DIALECTS, SAMPLES, Dialect, changed, sample

BUCKET = "b"
KEY = "attachments/files/000/000/004/original/a_b.png"
ETAG = "86c489dfa7e78a487a06b1860805b086"


def event(**sent: Any) -> UploadEvent:
    """Make an event of the object that all sample messages are about."""
    return UploadEvent(bucket=BUCKET, key=KEY, **sent)


AWS = event(
    etag=ETAG, version_id="096fKKXTRTtl3on89fVO.nfljtsv6qko", sequencer="0064D3901D00059242"
)
MINIO = event(etag=ETAG, sequencer="18AB5F2C90C4E9D5")

EXPECTED: dict[str, Reading] = {
    "aws": Reading(dialect="aws", events=[AWS]),
    "aws-test-event": Reading(dialect="aws", ignored=1),
    "sns-v1": Reading(dialect="sns/aws", events=[AWS]),
    "sns-v2": Reading(dialect="sns/aws", events=[AWS]),
    "sns-subscription-confirmation": Reading(dialect="sns", ignored=1),
    "sns-unsubscribe-confirmation": Reading(dialect="sns", ignored=1),
    "eventbridge-created": Reading(
        dialect="eventbridge",
        events=[
            event(
                etag=ETAG,
                version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                sequencer="617F08299329D189",
            )
        ],
    ),
    "eventbridge-deleted": Reading(
        dialect="eventbridge",
        events=[
            event(
                etag=ETAG,
                version_id="1QW9g1Z99LUNbvaaYVpW9xDlOLU.qxgF",
                sequencer="617F0837B476E463",
                removed=True,
            )
        ],
    ),
    "minio": Reading(dialect="minio", events=[MINIO]),
    "rustfs": Reading(dialect="rustfs", events=[MINIO]),
    # Ceph's sequencers do not order events, so the service ignores these sequencers.
    "ceph": Reading(dialect="ceph", events=[event(etag=ETAG)]),
    "ceph-older": Reading(dialect="ceph", events=[event(etag=ETAG)]),
    # The object does not exist yet. The event has no details, so the worker asks the store.
    "ceph-initiate-multipart": Reading(dialect="ceph", events=[event()]),
    "seaweedfs-create": Reading(dialect="seaweedfs", events=[event(etag=ETAG)]),
    "seaweedfs-update": Reading(dialect="seaweedfs", events=[event(etag=ETAG)]),
    "seaweedfs-rename": Reading(dialect="seaweedfs", events=[event(etag=ETAG)], ignored=1),
    "seaweedfs-delete": Reading(dialect="seaweedfs", events=[event(removed=True)]),
    "seaweedfs-version-create": Reading(
        dialect="seaweedfs",
        events=[event(etag=ETAG, version_id="6713b4d0bad6175a68f2757bb2f7f940")],
    ),
    "seaweedfs-version-delete": Reading(dialect="seaweedfs", events=[event(removed=True)]),
    # When a new version arrives, SeaweedFS also sends events about the old version and its folder.
    "seaweedfs-version-replaced": Reading(dialect="seaweedfs", ignored=1),
    "seaweedfs-versions-folder": Reading(dialect="seaweedfs", ignored=1),
    "seaweedfs-marker": Reading(dialect="seaweedfs", events=[event(removed=True)]),
    "seaweedfs-marker-delete": Reading(dialect="seaweedfs", events=[event(removed=True)]),
    "seaweedfs-suspended-create": Reading(dialect="seaweedfs", events=[event(etag=ETAG)]),
    "seaweedfs-suspended-marker": Reading(dialect="seaweedfs", events=[event(removed=True)]),
    "versitygw": Reading(dialect="versitygw", events=[event(etag=ETAG)]),
    "versitygw-bare": Reading(dialect="versitygw", events=[event()]),
    "versitygw-form": Reading(dialect="versitygw", ignored=1),
    "versitygw-test-event": Reading(dialect="aws", ignored=1),
}


def test_every_sample_has_its_expectation() -> None:
    assert EXPECTED.keys() == SAMPLES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_read(name: str) -> None:
    assert read(sample(name), bucket=BUCKET) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_members_that_are_not_known_change_nothing(name: str) -> None:
    document = sample(name)
    item = document[0] if isinstance(document, list) else document
    item["addedLater"] = {"Records": [], "key": "x"}
    assert read(document, bucket=BUCKET) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_row52_of_another_bucket_nothing_is_read(name: str) -> None:
    reading = read(sample(name), bucket="another")
    assert (reading.events, reading.faults) == ([], [])


OBJECT = "Records.0.s3.object"


@pytest.mark.parametrize("name", ["aws", "minio", "rustfs", "ceph", "versitygw"])
@pytest.mark.parametrize(
    ("kind", "removed"),
    [
        ("ObjectCreated:Put", False),
        ("ObjectCreated:Copy", False),
        ("ObjectCreated:CompleteMultipartUpload", False),
        ("s3:ObjectCreated:Post", False),
        ("ObjectRemoved:Delete", True),
        ("ObjectRemoved:DeleteMarkerCreated", True),
        ("s3:ObjectRemoved:Delete", True),
    ],
)
def test_creation_and_removal_are_recognised_by_the_beginning_of_the_name(
    name: str, kind: str, removed: bool
) -> None:
    (read_event,) = read(changed(sample(name), "Records.0.eventName", kind), bucket=BUCKET).events
    assert read_event.removed is removed


@pytest.mark.parametrize("name", ["aws", "minio", "rustfs", "ceph", "versitygw"])
@pytest.mark.parametrize(
    "kind", ["ObjectRestore:Post", "ObjectTagging:Put", "ObjectAccessed:Get", "s3:TestEvent", "x"]
)
def test_row50_other_kinds_of_events_are_ignored(name: str, kind: str) -> None:
    reading = read(changed(sample(name), "Records.0.eventName", kind), bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


@pytest.mark.parametrize("kind", [None, 5, ["Object Created"]])
def test_row61_a_kind_of_eventbridge_that_is_none_is_a_fault(kind: Any) -> None:
    reading = read(changed(sample("eventbridge-created"), "detail-type", kind), bucket=BUCKET)
    assert (reading.events, len(reading.faults), reading.ignored) == ([], 1, 0)


@pytest.mark.parametrize("kind", ["Object Restore Completed", "Object Tags Added", ""])
def test_row50_other_kinds_of_eventbridge_are_ignored(kind: Any) -> None:
    reading = read(changed(sample("eventbridge-created"), "detail-type", kind), bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


@pytest.mark.parametrize("source", ["aws.ec2", "aws.s3x", "", None])
def test_eventbridge_of_another_service_is_of_no_dialect(source: Any) -> None:
    reading = read(changed(sample("eventbridge-created"), "source", source), bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == (None, [], 1)


# -- messages that the tests make are like the samples ------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_written_message_is_read_as_it_was_meant(dialect: Dialect) -> None:
    sent = dialect.message(
        dialect.make_event(BUCKET, KEY, etag="e1", version_id="v1", sequencer="0a", size=5)
    )
    expected = event(
        etag="e1",
        version_id="v1" if dialect.versions else None,
        sequencer="0A" if dialect.ordered else None,
    )
    assert read(sent, bucket=BUCKET) == Reading(dialect=dialect.label, events=[expected])
    bare = dialect.message(dialect.make_event(BUCKET, KEY))
    assert read(bare, bucket=BUCKET).events == [event()]
    removed = dialect.message(dialect.make_event(BUCKET, KEY, removed=True))
    assert read(removed, bucket=BUCKET).events == [event(removed=True)]


@pytest.mark.parametrize("dialect", BATCHING, ids=lambda dialect: dialect.name)
def test_many_records_are_many_events(dialect: Dialect) -> None:
    keys = [original_key(number, "a.png") for number in range(1, 4)]
    reading = read(
        dialect.message(*(dialect.make_event(BUCKET, key) for key in keys)), bucket=BUCKET
    )
    assert [read_event.key for read_event in reading.events] == keys


@pytest.mark.parametrize("dialect", BATCHING, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_row61_a_record_of_another_source_costs_only_itself(
    dialect: Dialect, place: int, known: bool
) -> None:
    keys = [original_key(number, "a.png") for number in (1, 2)]
    sent = [dialect.make_event(BUCKET, key) for key in keys]
    foreign = dialect.make_event(BUCKET, original_key(3, "a.png"))
    foreign["eventSource"] = ("ceph:s3" if dialect.name != "ceph" else "minio:s3") if known else "x"
    foreign["s3"]["configurationId"] = "of another"
    sent.insert(place, foreign)
    reading = read(dialect.message(*sent), bucket=BUCKET)
    assert [read_event.key for read_event in reading.events] == keys
    assert len(reading.faults) == 1


# -- rules of a single dialect -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["versitygw", "versitygw-bare"])
def test_row54_a_key_of_versitygw_may_be_encoded_as_in_a_path(name: str) -> None:
    path = "0.s3.object.key" if name == "versitygw-bare" else f"{OBJECT}.key"
    for key in (KEY, KEY.replace("_", "%5F"), KEY.replace("/", "%2F")):
        assert read(changed(sample(name), path, key), bucket=BUCKET).events[0].key == KEY
    # In the path of a URL, a plus sign does not mean a space.
    (sent,) = versitygw.parse(changed(sample(name), path, "a+b%20c%2B"))
    assert isinstance(sent, UploadEvent)
    assert sent.key == "a+b c+"


@pytest.mark.parametrize("name", ["ceph", "eventbridge-created"])
@pytest.mark.parametrize("key", [KEY.replace("/", "%2F"), KEY.replace("a_b", "a%5Fb")])
def test_row54_where_keys_are_not_encoded_nothing_is_decoded(name: str, key: str) -> None:
    path = f"{OBJECT}.key" if name == "ceph" else "detail.object.key"
    reading = read(changed(sample(name), path, key), bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


@pytest.mark.parametrize("size", [3479, "3479", "", None, -1, 1.5, "x", {}, ...])
def test_row60_an_event_counts_with_every_stated_size(size: Any) -> None:
    for name in ("aws", "minio", "ceph", "versitygw"):
        reading = read(changed(sample(name), f"{OBJECT}.size", size), bucket=BUCKET)
        assert reading == EXPECTED[name]


@pytest.mark.parametrize("opaque", ["", None, 5, {}, ..., "\0"])
def test_the_opaque_data_of_ceph_is_for_others(opaque: Any) -> None:
    document = changed(sample("ceph"), "Records.0.opaqueData", opaque)
    assert read(document, bucket=BUCKET) == EXPECTED["ceph"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("detail", ...),
        ("detail", None),
        ("detail", []),
        ("detail.bucket", "b"),
        ("detail.bucket.name", 5),
        ("detail.object", ...),
        ("detail.object.key", ""),
        ("detail.object.key", 5),
        ("detail.object.etag", "a\0"),
        ("detail.object.version-id", "v" * 2000),
    ],
)
def test_an_empty_event_of_eventbridge_is_a_fault(path: str, value: Any) -> None:
    reading = read(changed(sample("eventbridge-created"), path, value), bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == ("eventbridge", [], 1)


@pytest.mark.parametrize("message", [None, 5, "", "no json", "{", {}, [], '{"a":NaN}', "\ud800"])
def test_invalid_json_in_snss_envelope_is_a_fault(message: Any) -> None:
    reading = read({**sample("sns-v2"), "Message": message}, bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == ("sns", [], 1)


@pytest.mark.parametrize(
    ("message", "dialect"),
    [
        ("null", "sns"),
        ("5", "sns"),
        ('"x"', "sns"),
        ("{}", "sns"),
        ('{"Records":[null]}', "sns/aws"),
    ],
)
def test_json_that_is_no_event_in_snss_envelope_is_a_fault(message: str, dialect: str) -> None:
    reading = read({**sample("sns-v2"), "Message": message}, bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == (dialect, [], 1)


def test_row50_the_message_of_the_setup_comes_by_sns_too() -> None:
    document = {**sample("sns-v2"), "Message": '{"Service":"Amazon S3","Event":"s3:TestEvent"}'}
    assert read(document, bucket=BUCKET) == Reading(dialect="sns/aws", ignored=1)


@pytest.mark.parametrize("kind", ["", "notification", None, 5, [], {}])
def test_of_other_types_of_snss_messages_nothing_is_read(kind: Any) -> None:
    reading = read({**sample("sns-v2"), "Type": kind}, bucket=BUCKET)
    assert (reading.events, len(reading.faults), reading.ignored) == ([], 1, 0)


def test_an_envelope_in_an_envelope_is_of_no_dialect() -> None:
    inner = changed(sample("sns-v2"), "Message", "{}")

    reading = read({**sample("sns-v2"), "Message": json.dumps(inner)}, bucket=BUCKET)
    assert (reading.dialect, reading.events, len(reading.faults)) == ("sns", [], 1)
