"""Invalid request bodies: a running API refuses one case of each row of limits.md.

tests/unit/test_refused_requests.py tests all cases of each row.
"""

import pytest

from tests.data.bad_bodies import BODIES, PATCHABLE, one_of_each_row
from tests.support.bad_requests import BULK, PATH, Target, assert_refused
from tests.support.service import MEDIA_TYPE

POSTED = one_of_each_row(BODIES)


@pytest.mark.parametrize(("body", "status"), POSTED.values(), ids=POSTED)
async def test_a_bad_body_is_refused_and_nothing_is_stored(
    untouched: Target, body: bytes, status: int
) -> None:
    assert_refused(await untouched.client.request("POST", PATH, body=body), status)


PATCHED = one_of_each_row(PATCHABLE)


@pytest.mark.parametrize(("body", "status"), PATCHED.values(), ids=PATCHED)
async def test_a_bad_body_changes_nothing(untouched: Target, body: bytes, status: int) -> None:
    path = f"{PATH}/{untouched.mine}"
    assert_refused(await untouched.client.request("PATCH", path, body=body), status)


@pytest.mark.parametrize(
    ("count", "content_type", "status"),
    [
        pytest.param(100_000, BULK, 400, id="row06-100k-deep-bulk"),
        pytest.param(100_000, MEDIA_TYPE, 413, id="row06-100k-deep-is-over-the-limit-of-one"),
    ],
)
async def test_100000_arrays_in_each_other_are_refused(
    untouched: Target, count: int, content_type: str, status: int
) -> None:
    answer = await untouched.client.request(
        "POST", PATH, body=b"[" * count, headers={"Content-Type": content_type}
    )
    assert_refused(answer, status)
