"""Messages of SeaweedFS's filer, whose format differs from that of S3."""

import base64
from typing import Any
from urllib.parse import quote

import pytest

from shared.keys import thumbnail_key
from shared.notifications import UploadEvent, read
from tests.support.dialects import changed, sample
from tests.support.messages import the_event

BUCKET = "b"
KEY = "attachments/files/000/000/004/original/a_b.png"
FOLDER = KEY.rpartition("/")[0]
SEAWEEDFS = sample("seaweedfs-create")
SEAWEEDFS_ETAG = "86c489dfa7e78a487a06b1860805b086"


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


VERSION = sample("seaweedfs-version-create")
VERSION_ID = "6713b4d0bad6175a68f2757bb2f7f940"
VERSION_FILE = "/buckets/b/attachments/files/000/000/004/original/{}/v_" + VERSION_ID


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("a_b.png.versions", "a_b.png"),
        ("x.versions.versions", "x.versions"),
        ("x.versions.versions.versions", "x.versions.versions"),
        ("_.versions", "_"),
    ],
)
def test_a_version_is_an_upload_of_the_key_without_one_suffix(folder: str, name: str) -> None:
    found = the_event(changed(VERSION, "key", VERSION_FILE.format(folder)))
    assert found == UploadEvent(
        bucket="b", key=f"{FOLDER}/{name}", etag=SEAWEEDFS_ETAG, version_id=VERSION_ID
    )


@pytest.mark.parametrize("name", ["x.versions", "x.versions.versions", "v_null", "v_0.versions"])
def test_a_file_that_a_client_names_so_is_no_version(name: str) -> None:
    key = f"{FOLDER}/{name}"
    found = the_event(changed(SEAWEEDFS, "key", f"/buckets/b/{key}"))
    assert found == UploadEvent(bucket="b", key=key, etag=SEAWEEDFS_ETAG)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(changed(VERSION, "key", VERSION_FILE.format("a_b.png")), id="no-suffix"),
        pytest.param(changed(VERSION, "key", VERSION_FILE.format(".versions")), id="no-name"),
        pytest.param(changed(VERSION, "key", VERSION_FILE.format("a_b.png.versions/x")), id="deep"),
        pytest.param(changed(VERSION, "key", f"/buckets/b/{KEY}.versions/x"), id="no-version"),
        pytest.param(changed(VERSION, "key", f"/buckets/b/{KEY}.versions/v_"), id="empty-version"),
        pytest.param(
            changed(VERSION, "key", f"/buckets/b/{KEY}.versions/v_00"), id="another-version"
        ),
        pytest.param(changed(VERSION, "message.new_entry.extended", ...), id="version-unsaid"),
        pytest.param(
            changed(VERSION, "message.new_entry.extended.Seaweed-X-Amz-Version-Id", 5), id="number"
        ),
        pytest.param(
            changed(VERSION, "key", VERSION_FILE.format("a.versions").replace("original", "thumb")),
            id="row55-thumbnail",
        ),
    ],
)
def test_a_path_that_only_resembles_a_version_is_ignored(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.events, reading.faults, reading.ignored) == ([], [], 1)


def renamed(old: str, new_parent: Any, new_name: Any) -> Any:
    """Make the message that SeaweedFS's filer sends when a file is moved."""
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
        pytest.param(changed(SEAWEEDFS, "key", f"/buckets/.system/b/{KEY}"), id="row52-system"),
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
            {
                "event_type": "delete",
                "key": f"/buckets/b/{FOLDER}",
                "message": {"old_entry": {"is_directory": True}},
            },
            id="row53-directory-removed",
        ),
    ],
)
def test_messages_of_the_filer_about_other_files_are_ignored(document: Any) -> None:
    reading = read(document, bucket=BUCKET)
    assert (reading.dialect, reading.events, reading.faults) == ("seaweedfs", [], [])
    assert reading.ignored == 1


@pytest.mark.parametrize(
    "document",
    [
        changed(SEAWEEDFS, "key", None),
        changed(SEAWEEDFS, "key", ...),
        changed(SEAWEEDFS, "event_type", 5),
        changed(SEAWEEDFS, "message", "x"),
        changed(SEAWEEDFS, "message.new_entry", ...),
        changed(SEAWEEDFS, "message.new_entry", 5),
        changed(SEAWEEDFS, "message.new_entry", None),
    ],
)
def test_an_empty_message_of_the_filer_is_a_fault(document: Any) -> None:
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
            None,
            id="neither",
        ),
    ],
)
def test_the_etag_is_found_where_the_filer_keeps_it(document: Any, etag: str | None) -> None:
    assert the_event(document).etag == etag
