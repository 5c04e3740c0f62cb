"""The service copies a large object in parts whose sizes S3 accepts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.part_copies import IN_ONE_BYTES, MAX_PARTS, PART_BYTES, plan

GIB = 1024**3
MAX_PART_BYTES = 5 * GIB  # S3's limits for a part are 5 MiB (except the last part) and 5 GiB
MIN_PART_BYTES = 5 * 1024**2


@pytest.mark.parametrize(
    ("size", "count", "last_bytes"),
    [
        (IN_ONE_BYTES + 1, 3, 1),
        (5 * GIB, 20, PART_BYTES),
        (5 * GIB + 1, 21, 1),
        (5_000_000_000, 19, 5_000_000_000 - 18 * PART_BYTES),
        (PART_BYTES * MAX_PARTS, MAX_PARTS, PART_BYTES),
        # This object has more than MAX_PARTS times PART_BYTES, so its parts are larger.
        (5 * 1024 * GIB, MAX_PARTS, None),
    ],
)
def test_parts_of_a_large_object(size: int, count: int, last_bytes: int | None) -> None:
    parts = list(plan(size))
    assert len(parts) == count
    first, last = parts[-1]
    assert last_bytes in (None, last - first + 1)


@given(st.integers(min_value=IN_ONE_BYTES + 1, max_value=5 * 1024 * GIB))
def test_parts_cover_an_object_of_any_size_within_the_limits_of_s3(size: int) -> None:
    parts = list(plan(size))
    assert parts[0][0] == 0
    assert parts[-1][1] == size - 1
    assert all(last + 1 == first for (_, last), (first, _) in pairwise(parts))
    assert len(parts) <= MAX_PARTS
    sizes = [last - first + 1 for first, last in parts]
    assert len(set(sizes[:-1])) == 1
    assert MIN_PART_BYTES <= sizes[0] <= MAX_PART_BYTES
    assert 1 <= sizes[-1] <= sizes[0]
