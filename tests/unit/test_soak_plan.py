"""The plan of the soak test depends only on its seed, and all files of the plan differ."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.soak.files import EXTENSIONS, FILES, MAX_CODE, PHOTOS, paint, read_code
from tests.soak.plan import KILLS, MAX_UPLOADS, Mix, Odds, draw_fate, draw_faults, draw_upload
from worker.buffering import HEAD_BYTES
from worker.decoding.inside import pdf
from worker.decoding.inside.images import make_thumbnail
from worker.sniffing.identify import identify
from worker.sniffing.ranges import PartialFile

pytestmark = pytest.mark.soak


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
    """Return the content type that a worker would find for a file."""
    asking = identify(PartialFile(content[:HEAD_BYTES], len(content)))
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
