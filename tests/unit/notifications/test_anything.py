"""Event messages with any file name and any content: names are read unchanged, and no message makes
the parser fail.
"""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.keys import MAX_ID, original_key, parse_key, thumbnail_key
from shared.notifications import UploadEvent, read, sns
from shared.notifications.reading import DIALECTS as READERS
from tests.support.dialects import DIALECTS, SAMPLES, sample
from tests.support.messages import NAMES, places, put

BUCKET = "b"
KEY = "attachments/files/000/000/004/original/a_b.png"

thorough = settings(max_examples=300, deadline=None, derandomize=True, database=None)


@pytest.mark.slow
@thorough
@given(name=NAMES, attachment_id=st.integers(1, MAX_ID))
@example(name="a b+c%2Bd%252F.png", attachment_id=4)
@example(name="../../thumb/x.png", attachment_id=MAX_ID)
@example(name="${filename}", attachment_id=1)
def test_any_name_comes_back_from_every_dialect(name: str, attachment_id: int) -> None:
    key = original_key(attachment_id, name)
    for dialect in DIALECTS:
        sent = dialect.message(dialect.make_event(BUCKET, key, etag="e1"))
        # A store sends a message as JSON. The conversion to JSON and back must not change the
        # event.
        (event,) = read(json.loads(json.dumps(sent)), bucket=BUCKET).events
        assert event.key == key
        assert parse_key(event.key) == (attachment_id, "original")
        ours = dialect.message(dialect.make_event(BUCKET, thumbnail_key(key), etag="e1"))
        assert read(ours, bucket=BUCKET).events == []


@pytest.mark.slow
@thorough
# SeaweedFS stores the parts of multipart uploads below `.uploads/`. Events about such keys are
# ignored.
@given(
    key=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda key: key[:9] != ".uploads/")
)
@example(key="a b+c%2B%")
@example(key="%20%2f/+/ä\U0001f600\0")
@example(key="//")
def test_any_key_comes_back_from_every_dialect(key: str) -> None:
    # The service's own keys contain no characters that decoding changes. So this test uses other
    # keys, and calls the dialects' parsers directly.
    for dialect in DIALECTS:
        document = json.loads(json.dumps(dialect.message(dialect.make_event(BUCKET, key))))
        if sns.recognises(document):
            document = sns.unwrap(document)
        (reader,) = [each for each in READERS.values() if each.recognises(document)]
        (sent,) = reader.parse(document)
        assert isinstance(sent, UploadEvent)
        assert (sent.bucket, sent.key) == (BUCKET, key), dialect.name


@thorough
@given(name=NAMES, attachment_id=st.integers(1, MAX_ID))
def test_any_name_comes_back_from_an_overwrite_and_a_move(name: str, attachment_id: int) -> None:
    key = original_key(attachment_id, name)
    folder, _, file_name = key.rpartition("/")
    overwrite = sample("seaweedfs-update")
    overwrite["key"] = f"/buckets/{BUCKET}/{key}"
    move = sample("seaweedfs-rename")
    move["message"]["new_parent_path"] = f"/buckets/{BUCKET}/{folder}"
    move["message"]["new_entry"]["name"] = file_name
    for document in (overwrite, move):
        assert [event.key for event in read(document, bucket=BUCKET).events] == [key]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


WITHIN_SNS = "sns-v2"
BENT = st.sampled_from(sorted(SAMPLES)).flatmap(
    lambda name: st.builds(
        put, st.builds(sample, st.just(name)), st.sampled_from(places(SAMPLES[name])), JSON
    )
)


@pytest.mark.slow
@settings(thorough, max_examples=500)
@given(document=BENT | JSON, wrapped=st.booleans())
def test_no_document_makes_reading_fail(document: Any, wrapped: bool) -> None:
    if wrapped:
        document = {**sample(WITHIN_SNS), "Message": json.dumps(document)}
    reading = read(document, bucket=BUCKET)
    for event in reading.events:
        # SeaweedFS marks the folder that holds an object's versions. A changed message may lack the
        # mark. Then the folder is read as a file of the same name.
        assert (event.bucket, event.key) in {(BUCKET, KEY), (BUCKET, f"{KEY}.versions")}
        assert event.etag is None or (event.etag.isascii() and event.etag.isprintable())
    # Each message yields an event, a fault or an ignored record. A message with an empty list of
    # records yields only its dialect.
    assert reading.events or reading.faults or reading.ignored or reading.dialect
