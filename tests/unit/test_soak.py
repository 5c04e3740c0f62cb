"""The soak's pure parts: a plan that its seed decides, files that can be told apart, a verdict."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil  # type: ignore[import-untyped]  # it ships none
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.processes.supervisor import Child, Program
from shared.attachments import Attachment
from tests.soak.bounds import MAX_WORKER_BYTES, find_leaks, grown, secrets_of
from tests.soak.clients import Clients, Entry, Ledger, Sent
from tests.soak.faults import Chaos
from tests.soak.files import EXTENSIONS, FILES, MAX_CODE, PHOTOS, paint, read_code
from tests.soak.plan import (
    KILLS,
    MAX_UPLOADS,
    Fault,
    Mix,
    Odds,
    Upload,
    draw_fate,
    draw_faults,
    draw_upload,
)
from tests.soak.processes import Kept
from tests.soak.site import Site
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
from worker.buffering import HEAD_BYTES
from worker.decoding.inside import pdf
from worker.decoding.inside.images import make_thumbnail
from worker.sniffing.identify import identify

pytestmark = pytest.mark.soak

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_one_seed_gives_one_plan_and_another_seed_another() -> None:
    def plan(seed: int) -> object:
        uploads = [draw_upload(seed, number, Mix(), organizations=5) for number in range(100)]
        return uploads, draw_faults(seed, kills=20), draw_fate(seed, "original/1/0", Odds())

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_an_upload_does_not_depend_on_those_before_it() -> None:
    later = draw_upload(7, 50, Mix(), organizations=5)
    for number in range(50):
        draw_upload(7, number, Mix(), organizations=5)

    assert draw_upload(7, 50, Mix(), organizations=5) == later


@given(seed=st.integers(0, 2**31), number=st.integers(0, MAX_UPLOADS - 1))
def test_every_version_of_every_upload_has_a_number_of_its_own(seed: int, number: int) -> None:
    upload = draw_upload(seed, number, Mix(), organizations=5)
    after = draw_upload(seed, number + 1, Mix(), organizations=5)
    codes = [version.code for version in (*upload.versions, *after.versions)]

    assert len(set(codes)) == len(codes)
    assert all(0 <= version.code <= MAX_CODE for version in upload.versions)


@pytest.mark.parametrize(
    ("mix", "versions", "deleted"),
    [
        pytest.param(Mix(never=1, overwrites=0, deletes=0), {0}, False, id="never"),
        pytest.param(Mix(never=0, overwrites=0, deletes=1), {1}, True, id="once-and-deleted"),
        pytest.param(Mix(never=0, overwrites=1, deletes=0), {2, 3, 4}, False, id="overwritten"),
    ],
)
def test_uploads_are_mixed_as_asked_for(mix: Mix, versions: set[int], deleted: bool) -> None:
    uploads = [draw_upload(5, number, mix, organizations=2) for number in range(100)]

    assert {len(upload.versions) for upload in uploads} == versions
    assert all((upload.deleted_after is not None) == deleted for upload in uploads)


@pytest.mark.parametrize("kills", [0, 1, 7, 100])
def test_as_many_kills_are_planned_as_asked_for(kills: int) -> None:
    faults = draw_faults(3, kills=kills)

    assert sum(fault.kind.startswith("kill ") for fault in faults) == kills
    assert faults == sorted(faults, key=lambda fault: fault.at)
    assert kills < 100 or {f"kill {target}" for target in KILLS} <= {item.kind for item in faults}


@pytest.mark.parametrize("kind", ["drop", "duplicate", "delay", "shuffle"])
def test_an_event_meets_the_fate_that_is_certain(kind: str) -> None:
    never = Odds(drop=0, duplicate=0, delay=0, shuffle=0)

    assert draw_fate(1, "original/1/0", replace(never, **{kind: 1})).kind == kind
    assert draw_fate(1, "original/1/0", never).kind == "forward"


@given(code=st.integers(0, MAX_CODE))
@settings(deadline=None)
def test_a_photo_carries_its_number(code: int) -> None:
    file = io.BytesIO()
    paint(code, 320, 240).save(file, "PNG", compress_level=0)

    assert read_code(file.getvalue()) == code


@pytest.mark.parametrize("kind", PHOTOS)
@pytest.mark.parametrize("code", [0, 1, 0xABCDEF, MAX_CODE])
def test_a_thumbnail_shows_the_number_of_its_photo(kind: str, code: int) -> None:
    file = PHOTOS[kind](code)
    thumbnail = make_thumbnail(io.BytesIO(file.content))

    assert read_code(thumbnail.body) == code == file.expected.code
    facts = thumbnail.facts
    assert (facts.width, facts.height) == (file.expected.width, file.expected.height)


@pytest.mark.parametrize("code", [0, 1, 0xABCDEF, MAX_CODE])
def test_a_thumbnail_shows_the_number_of_its_document(code: int) -> None:
    file = FILES["pdf"](code)
    thumbnail = pdf.make_thumbnail(io.BytesIO(file.content))

    assert read_code(thumbnail.body) == code == file.expected.code
    assert thumbnail.facts.pages == 1


def named(content: bytes) -> str:
    """Name the content type of a file as a worker does."""
    asking = identify(content[:HEAD_BYTES], len(content))
    try:
        start, end = next(asking)
        while True:
            start, end = asking.send(content[start:end])
    except StopIteration as found:
        return str(found.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_of_the_type_that_is_expected_of_it(kind: str) -> None:
    files = [FILES[kind](code) for code in range(50)]

    for file in files:
        assert file.expected.content_type in (None, named(file.content))
    assert len({file.content for file in files}) == (1 if kind == "empty" else 50)
    assert kind in EXTENSIONS


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
    """Judge one attachment; give the invariants that are broken, each once."""
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
def test_what_is_in_order_breaks_nothing(
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


class Sleeper:
    """A process that does nothing, as a part that faults can befall."""

    name = "valkey"

    def __init__(self, directory: Path) -> None:
        self.child: Child | None = None
        self._directory = directory

    async def start(self) -> None:
        """Run it."""
        argv = (sys.executable, "-c", "import time; time.sleep(600)")
        self.child = Child(
            Program(
                name=self.name,
                argv=argv,
                env={},
                cwd=self._directory,
                log=self._directory / "log",
            )
        )

    async def stop(self, grace_s: float) -> None:
        """Stop it."""
        if self.child is not None:
            await self.child.stop(grace_s)


@pytest_asyncio.fixture
async def sleeper(tmp_path: Path) -> AsyncIterator[Kept]:
    """A running process to befall."""
    kept = Kept(Sleeper(tmp_path))
    await kept.start()
    yield kept
    await kept.stop(0)


def chaos(part: Kept, *faults: Fault) -> Chaos:
    """Faults over a site that has nothing but one part."""
    return Chaos(cast(Site, SimpleNamespace(kept={part.name: part}, workers=[])), faults)


async def test_a_freeze_ends_even_if_it_is_the_last_fault(sleeper: Kept) -> None:
    faults = chaos(sleeper, Fault(at=0, kind="freeze valkey", lasts_s=0.2))

    await faults.run(lambda: 1.0, asyncio.Event())

    assert sleeper.child is not None
    assert psutil.Process(sleeper.child.pid).status() != psutil.STATUS_STOPPED
    assert faults.done == {"freeze valkey": 1}


async def test_an_end_counts_as_unasked_unless_the_soak_killed(sleeper: Kept) -> None:
    assert sleeper.child is not None
    await chaos(sleeper, Fault(at=0, kind="kill valkey")).run(lambda: 1.0, asyncio.Event())
    await sleeper.child.wait()
    await sleeper.start()
    assert sleeper.unasked == []

    os.kill(sleeper.child.pid, signal.SIGKILL)
    await sleeper.child.wait()
    await sleeper.start()
    assert sleeper.unasked == ["valkey ended with status -9"]


async def test_faults_whose_time_has_come_are_injected_though_it_is_over(sleeper: Kept) -> None:
    over = asyncio.Event()
    over.set()
    faults = chaos(sleeper, Fault(at=0.5, kind="kill valkey"), Fault(at=0.9, kind="kill valkey"))

    await faults.run(lambda: 0.7, over)

    assert faults.done == {"kill valkey": 1}
    assert faults.left_out == {"kill valkey": 1}


async def test_faults_whose_time_does_not_come_are_left_out(sleeper: Kept) -> None:
    over = asyncio.Event()
    over.set()
    faults = chaos(sleeper, Fault(at=0.5, kind="kill valkey"))

    await faults.run(lambda: 0.0, over)

    assert sleeper.alive
    assert faults.left_out == {"kill valkey": 1}


@pytest.mark.parametrize(
    ("made", "left_out", "about"),
    [
        pytest.param(10, {}, [], id="all"),
        pytest.param(9, {}, ["1 of 10 uploads: there was no time for them"], id="an-upload-less"),
        pytest.param(10, {"kill api": 2}, ["2 kill api"], id="two-faults-less"),
    ],
)
def test_what_was_asked_for_and_did_not_happen_is_a_breach(
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
async def test_rows_that_another_organization_is_told_of_are_counted(
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
