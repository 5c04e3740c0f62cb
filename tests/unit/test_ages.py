"""The service compares ages of objects and rows, so the clocks of two machines are never
compared.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import ages
from shared.ages import MARGIN_S, is_older_than_row, predates
from shared.attachments import Attachment
from shared.stored_objects import StoredObject
from tests.support.rows import attachment

AGES = st.floats(0, 1e9)
MOMENTS = st.floats(-1e9, 1e9)


def stored(age_s: float | None, *, answered_at: float = 0.0) -> StoredObject:
    """Make the store's answer about an object that is `age_s` seconds old, or of unknown age."""
    return StoredObject(size=1, etag="a", age_s=age_s, answered_at=answered_at)


def row(age_s: float, *, read_at: float = 0.0) -> Attachment:
    """Make a row that was `age_s` seconds old when it was read, at the time `read_at`."""
    return attachment(age_s=age_s, read_at=read_at)


@pytest.mark.parametrize(
    ("object_age_s", "row_age_s", "older"),
    [
        pytest.param(0, 0, False, id="both new"),
        pytest.param(10, 10, False, id="stored at once"),
        pytest.param(1, 3600, False, id="stored an hour after the row"),
        pytest.param(15, 10, False, id="within the margin"),
        pytest.param(15.1, 10, True, id="beyond the margin"),
        pytest.param(3600, 1, True, id="there an hour before the row"),
        pytest.param(-1, 0, False, id="from the future, by whole seconds"),
    ],
)
def test_an_object_is_older_beyond_a_margin(
    object_age_s: float, row_age_s: float, older: bool
) -> None:
    assert is_older_than_row(object_age_s, row_age_s) is older


@given(
    row_made=MOMENTS,
    stored_after=st.floats(0, 1e6),
    asked_after=st.floats(0, 1e6),
    store_skew=MOMENTS,
    database_skew=MOMENTS,
)
def test_a_true_upload_is_never_older_however_far_the_clocks_are_apart(
    row_made: float,
    stored_after: float,
    asked_after: float,
    store_skew: float,
    database_skew: float,
) -> None:
    now = row_made + stored_after + asked_after
    object_age_s = int(now + store_skew) - int(row_made + stored_after + store_skew)
    row_age_s = (now + database_skew) - (row_made + database_skew)
    assert not is_older_than_row(object_age_s, row_age_s)


@given(
    row_made=MOMENTS,
    stored_before=st.floats(MARGIN_S + 2, 1e6),
    asked_after=st.floats(0, 1e6),
    store_skew=MOMENTS,
    database_skew=MOMENTS,
)
def test_an_object_of_a_lost_row_is_always_older(
    row_made: float,
    stored_before: float,
    asked_after: float,
    store_skew: float,
    database_skew: float,
) -> None:
    now = row_made + asked_after
    object_age_s = int(now + store_skew) - int(row_made - stored_before + store_skew)
    row_age_s = (now + database_skew) - (row_made + database_skew)
    assert is_older_than_row(object_age_s, row_age_s)


@given(waited_s=st.floats(0, 1e6))
def test_the_time_from_the_row_s_reading_to_the_store_s_answer_counts(waited_s: float) -> None:
    read = row(10, read_at=100)
    true_upload = stored(10 + waited_s, answered_at=100 + waited_s)
    lost = stored(17 + waited_s, answered_at=100 + waited_s)
    assert not predates(true_upload, read)
    assert predates(lost, read)


def test_a_row_just_made_is_of_no_age() -> None:
    made = attachment()
    assert made.age_s == 0
    assert abs(time.monotonic() - made.read_at) < 60


def test_an_unknown_age_is_accepted_and_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(ages, "_warned", False)
    monkeypatch.setattr(ages.log, "warning", warned.append)
    for _ in range(3):
        assert not predates(stored(None), row(0))
    assert len(warned) == 1
