"""The verdict of the soak test: broken invariants, growing memory, and leaked secrets or data."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from shared.attachments import Attachment
from tests.soak.bounds import MAX_WORKER_BYTES, find_leaks, grown, secrets_of
from tests.soak.clients import Clients, Entry, Ledger, Sent
from tests.soak.files import PHOTOS
from tests.soak.plan import Upload
from tests.soak.soak_site import Site
from tests.soak.verdict import (
    LOST,
    MISDESCRIBED,
    ORPHANS,
    OUTCOMES,
    SPARED,
    THUMBNAILS,
    UNFINISHED,
    StoredItem,
    by_invariant,
    delays_s,
    judge,
    spared,
)
from tests.support.service import Service

pytestmark = pytest.mark.soak
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SENT = Sent(
    code=4,
    kind="jpeg",
    md5="e1",
    sha256="s1",
    size=10,
    expected=PHOTOS["jpeg"](4).expected,
    unsure=False,
    accepted_at=NOW.timestamp(),
)
EARLIER = replace(SENT, code=5, md5="e0", sha256="s0", accepted_at=NOW.timestamp() - 9)
ROW = Attachment(
    id=1,
    organization_id=1,
    bucket="b",
    name="a.jpg",
    file_name="a.jpg",
    thumbnail_name="a.jpg",
    content_type="image/jpeg",
    size=10,
    width=640,
    height=480,
    checksum_sha256="s1",
    state="ready",
    resized=True,
    etag="e1",
    created_at=NOW,
    policy_expires_at=NOW,
    processed_at=NOW + timedelta(seconds=2),
)
ORIGINAL, THUMB = "attachments/files/000/000/001/original/a.jpg", ROW.thumbnail_key or ""
OBJECTS = {ORIGINAL: StoredItem(etag="e1", size=10), THUMB: StoredItem(etag="t", size=5)}


def entry(*sent: Sent, deleted: bool | None = False) -> Entry:
    upload = Upload(number=3, organization=0, name="a.jpg", versions=())
    return Entry(upload=upload, attachment_id=1, sent=list(sent), deleted=deleted)


def broken(
    row: Attachment,
    known: Entry,
    objects: Mapping[str, StoredItem] = OBJECTS,
    shown: int | None = 4,
) -> list[str]:
    """Return the names of the invariants that an attachment breaks, each name once."""
    findings = judge([known], {row.id: row}, objects, {row.id: shown})
    return sorted({finding.invariant for finding in findings})


@pytest.mark.parametrize(
    ("row", "known", "objects"),
    [
        pytest.param(ROW, entry(SENT), OBJECTS, id="uploaded-once"),
        pytest.param(ROW, entry(EARLIER, SENT), OBJECTS, id="overwritten"),
        pytest.param(replace(ROW, checksum_sha256=None), entry(SENT), OBJECTS, id="no-checksum"),
        pytest.param(
            ROW,
            entry(replace(SENT, unsure=True, accepted_at=None), EARLIER),
            OBJECTS,
            id="one-without-an-answer-came-late",
        ),
        pytest.param(replace(ROW, deleted_at=NOW), entry(SENT, deleted=True), {}, id="purged"),
        pytest.param(replace(ROW, deleted_at=NOW), entry(SENT, deleted=None), {}, id="no-answer"),
        pytest.param(
            replace(ROW, deleted_at=NOW, due_at=NOW),
            entry(SENT, deleted=True),
            OBJECTS,
            id="to-be-purged",
        ),
        pytest.param(
            replace(ROW, state="expired", etag=None, resized=False), entry(), {}, id="never"
        ),
    ],
)
def test_correct_rows_are_no_breach(
    row: Attachment, known: Entry, objects: Mapping[str, StoredItem]
) -> None:
    assert broken(row, known, objects) == []


@pytest.mark.parametrize(
    ("row", "objects", "shown", "invariants"),
    [
        pytest.param(replace(ROW, state="uploaded"), OBJECTS, 4, [UNFINISHED], id="not-final"),
        pytest.param(replace(ROW, state="expired"), OBJECTS, 4, [UNFINISHED], id="expired"),
        pytest.param(replace(ROW, etag="e0"), OBJECTS, 4, [MISDESCRIBED], id="other-etag"),
        pytest.param(replace(ROW, size=11), OBJECTS, 4, [MISDESCRIBED], id="other-size"),
        pytest.param(replace(ROW, checksum_sha256="s0"), OBJECTS, 4, [MISDESCRIBED], id="sum"),
        pytest.param(
            replace(ROW, etag="e9"),
            {**OBJECTS, ORIGINAL: StoredItem(etag="e9", size=10)},
            4,
            [MISDESCRIBED],
            id="nothing-that-was-sent",
        ),
        pytest.param(ROW, OBJECTS, 5, [THUMBNAILS], id="thumbnail-of-another-version"),
        pytest.param(ROW, OBJECTS, None, [THUMBNAILS], id="thumbnail-of-nothing"),
        pytest.param(ROW, {ORIGINAL: OBJECTS[ORIGINAL]}, 4, [THUMBNAILS], id="no-thumbnail"),
        pytest.param(
            ROW, {**OBJECTS, f"{THUMB}.png": OBJECTS[THUMB]}, 4, [ORPHANS], id="another-thumbnail"
        ),
        pytest.param(
            ROW,
            {**OBJECTS, ORIGINAL.replace("1", "2"): OBJECTS[ORIGINAL]},
            4,
            [ORPHANS],
            id="no-row",
        ),
        pytest.param(replace(ROW, width=480), OBJECTS, 4, [OUTCOMES], id="other-width"),
        pytest.param(replace(ROW, content_type="image/png"), OBJECTS, 4, [OUTCOMES], id="type"),
        pytest.param(
            replace(ROW, state="rejected", reason="too_large", resized=False, thumbnail_name=None),
            {ORIGINAL: OBJECTS[ORIGINAL]},
            None,
            [OUTCOMES],
            id="a-photo-rejected",
        ),
        pytest.param(
            replace(ROW, state="failed", reason="internal_error", resized=False),
            OBJECTS,
            4,
            [OUTCOMES],
            id="failed",
        ),
        pytest.param(ROW, {THUMB: OBJECTS[THUMB]}, 4, [LOST, MISDESCRIBED], id="object-gone"),
        pytest.param(replace(ROW, deleted_at=NOW), {}, 4, [OUTCOMES], id="deleted-by-no-one"),
        pytest.param(
            replace(ROW, deleted_at=NOW), OBJECTS, 4, [ORPHANS, OUTCOMES], id="not-purged"
        ),
    ],
)
def test_each_breach_is_found(
    row: Attachment, objects: Mapping[str, StoredItem], shown: int | None, invariants: list[str]
) -> None:
    assert broken(row, entry(SENT), objects, shown) == sorted(invariants)


def test_delays_run_from_the_last_201_to_the_final_state() -> None:
    assert delays_s([entry(EARLIER, SENT)], {1: ROW}) == {3: (2.0, 1)}
    assert delays_s([entry(replace(EARLIER, unsure=True), SENT)], {1: ROW}) == {}


@pytest.mark.parametrize(
    ("made", "left_out", "about"),
    [
        pytest.param(10, {}, [], id="all"),
        pytest.param(9, {}, ["1 of 10 uploads: there was no time for them"], id="an-upload-less"),
        pytest.param(10, {"kill api": 2}, ["2 kill api"], id="two-faults-less"),
    ],
)
def test_a_requested_fault_that_did_not_happen_is_a_breach(
    made: int, left_out: dict[str, int], about: list[str]
) -> None:
    findings = spared(made=made, asked=10, left_out=left_out)

    assert [finding.about for finding in findings] == about
    assert by_invariant(findings)[SPARED] == about


ENVIRONMENT = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://attachments:of%2Fdatabase@127.0.0.1:5/soak",
    "ATTACHMENTS_BROKER_URL": "redis://:of-broker@127.0.0.1:6/0",
    "ATTACHMENTS_FILES_SECRET": "files-secret",
    "ATTACHMENTS_EVENTS_TOKENS": "events-token",
    "AWS_SECRET_ACCESS_KEY": "s3-secret",
}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        pytest.param(b'{"event": "worker is ready", "level": "info"}', [], id="nothing"),
        pytest.param(b"no route to :of/database@", ["ATTACHMENTS_DATABASE_URL's password"], id="1"),
        pytest.param(b"redis://:of-broker@", ["ATTACHMENTS_BROKER_URL's password"], id="2"),
        pytest.param(b"files-secret", ["ATTACHMENTS_FILES_SECRET"], id="3"),
        pytest.param(b"Bearer Events-Token", ["ATTACHMENTS_EVENTS_TOKENS"], id="4"),
        pytest.param(b"key s3-secret", ["AWS_SECRET_ACCESS_KEY"], id="5"),
        pytest.param(b"X-Auth-Token: of-a-client", ["token 1 of a client"], id="6"),
        pytest.param(b"GET /a?x-amz-signature=00", ["a signature"], id="7"),
    ],
)
def test_secrets_are_found_in_a_log(line: bytes, names: list[str]) -> None:
    secrets = secrets_of(ENVIRONMENT, ["of-a-client"])

    assert list(find_leaks([b"a line\n", line, line], secrets)) == names


def test_a_worker_that_holds_too_much_is_found() -> None:
    held = {"worker-1": MAX_WORKER_BYTES, "worker-2": MAX_WORKER_BYTES + 1}

    assert [finding.about.split()[0] for finding in grown(held)] == ["worker-2"]


@pytest.mark.parametrize("leaky", [False, True], ids=["kept", "shown"])
async def test_rows_of_events_of_another_organization_are_counted(
    running: Service, leaky: bool
) -> None:
    asking = running.client if leaky else await running.organization()
    site = cast(Site, SimpleNamespace(clients=[[running.client], [asking]]))
    ledger = Ledger()
    upload = Upload(number=0, organization=0, name="a.jpg", versions=())

    await Clients(site, ledger, seed=1).attend(upload)

    [made] = ledger.entries
    assert ledger.foreign == ([f"attachment {made.attachment_id}: 200"] if leaky else [])
    assert ledger.counts == ({} if leaky else {"kept from another organization": 1})
