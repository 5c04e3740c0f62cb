"""The search for originals in the bucket whose ids the database has not issued.

It sends only few list requests.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import keys
from shared.errors import IdsUndecided
from shared.sequence import KEY_PAGES, LONGER_LISTINGS, MAX_LISTINGS, STEP, IdSearch, raised_above
from shared.storage import Storage
from shared.stored_objects import StoredObject

NINE = 10**9


class Bucket:
    """A bucket in memory that lists keys as a store does.

    `phantoms` are empty folders, which the store also lists.
    """

    def __init__(self, names: Iterable[str], phantoms: Iterable[str] = ()) -> None:
        self.names = sorted(names)
        self.phantoms = list(phantoms)
        self.listings = 0

    async def list_prefixes(self, prefix: str) -> list[str]:
        """Return the folders directly below a prefix."""
        self.listings += 1
        inner = {
            name[: name.index("/", len(prefix)) + 1]
            for name in (*self.names, *self.phantoms)
            if name.startswith(prefix) and "/" in name[len(prefix) :]
        }
        return sorted(inner)

    async def list_keys(
        self, prefix: str, *, page_size: int = 1000, after: str = ""
    ) -> AsyncIterator[list[tuple[str, StoredObject]]]:
        """Yield pages of the keys that begin with a prefix and follow `after`."""
        found = [name for name in self.names if name.startswith(prefix) and name > after]
        for start in range(0, max(len(found), 1), page_size):
            self.listings += 1
            page = found[start : start + page_size]
            yield [(name, StoredObject(size=1, etag="a")) for name in page]


def originals(*ids: int) -> list[str]:
    """Return the keys of the originals with these ids."""
    return [keys.original_key(each, "img.png") for each in ids]


async def found(bucket: Bucket, last_id: int) -> int | None:
    """Return the greatest id above `last_id` that the search finds in a bucket, or None."""
    return await IdSearch(cast(Storage, cast(Any, bucket)), last_id).find()


@pytest.mark.parametrize(
    ("ids", "last_id", "expected"),
    [
        pytest.param([], 0, None, id="an empty bucket"),
        pytest.param([4], 4, None, id="the last id"),
        pytest.param([4], 3, 4, id="one above"),
        pytest.param([1], 0, 1, id="a lost database"),
        pytest.param([1, 999, 1000, 1_000_000], 1000, 1_000_000, id="the greatest"),
        pytest.param([NINE - 1], NINE - 2, NINE - 1, id="the last of nine digits"),
        pytest.param([4, NINE], 4, NINE, id="twelve digits beside nine"),
        pytest.param([1_000_000, NINE], 1_000_000, NINE, id="twelve digits in the same folder"),
        pytest.param([1_000_000, NINE], NINE, None, id="all of twelve digits handed out"),
        pytest.param([2_000_000, 1_234_567_890], 2_000_000, 1_234_567_890, id="sorted before"),
        pytest.param([500_000_000, NINE + 7], NINE + 6, NINE + 7, id="the next of twelve digits"),
        pytest.param([5 * NINE], 10, 5 * NINE, id="twelve digits alone"),
        pytest.param([10**12], 10, 10**12, id="fifteen digits"),
        pytest.param([999_999_999], 5 * NINE, None, id="nine digits below twelve"),
    ],
)
async def test_an_id_above_the_sequence_is_found(
    ids: list[int], last_id: int, expected: int | None
) -> None:
    bucket = Bucket(originals(*ids))
    assert await found(bucket, last_id) == expected
    assert bucket.listings < 20


@given(
    ids=st.sets(st.integers(1, NINE - 1), max_size=40),
    last_id=st.one_of(st.integers(0, NINE), st.integers(0, 3_000_000)),
)
@settings(max_examples=200)
async def test_ids_of_nine_digits_are_found_with_certainty(ids: set[int], last_id: int) -> None:
    above = [each for each in ids if each > last_id]
    assert await found(Bucket(originals(*ids)), last_id) == max(above, default=None)


async def test_few_listings_are_made_however_many_objects_there_are() -> None:
    bucket = Bucket(originals(*range(1, 20_001), *range(7_000_001, 7_020_001)))
    assert await found(bucket, 7_020_000) is None
    assert bucket.listings <= 14


async def test_thumbnails_and_strange_folders_are_no_originals() -> None:
    names = [
        "attachments/files/000/000/009/thumb/img.png",
        "attachments/files/doctor/x",
        "attachments/files/000/000/000/009/original/img.png",
        "attachments/files/000/000/abc/original/img.png",
    ]
    assert await found(Bucket(names), 5) is None


async def test_an_empty_folder_is_no_original() -> None:
    phantoms = originals(*range(100, 120))
    assert await found(Bucket(originals(7), phantoms), 5) == 7
    assert await found(Bucket(originals(5), phantoms), 5) is None


EMPTIED = originals(*range(2000, 2110), *range(3000, 3110))


async def test_more_empty_folders_than_listings_hide_no_original() -> None:
    assert await found(Bucket(originals(11, 900), EMPTIED), 11) == 900
    assert await found(Bucket(originals(11), EMPTIED), 11) is None
    bucket = Bucket([], originals(*range(1, 1000), *range(2_000_000, 2_001_000)))
    assert await found(bucket, 0) is None
    assert bucket.listings <= MAX_LISTINGS + KEY_PAGES + LONGER_LISTINGS


async def test_a_bounded_search_without_a_result_is_undecided() -> None:
    thumbnails = [
        keys.thumbnail_key(each) for each in originals(*range(12, 12 + 1000 * KEY_PAGES + 1))
    ]
    bucket = Bucket([*thumbnails, *originals(50_000)], originals(*range(60_000, 60_300)))
    with pytest.raises(IdsUndecided):
        await found(bucket, 11)
    assert bucket.listings <= MAX_LISTINGS + KEY_PAGES


async def test_empty_folders_of_longer_ids_are_undecided() -> None:
    with pytest.raises(IdsUndecided):
        await found(Bucket(originals(NINE + 900), originals(*range(NINE + 12, NINE + 40))), NINE)


async def test_folders_in_use_are_not_undecided() -> None:
    assert await found(Bucket(originals(*range(1_000_000, 1_100_000, 500))), 1_100_000) is None


@given(greatest=st.integers(0, keys.MAX_ID))
def test_the_sequence_is_raised_well_above(greatest: int) -> None:
    raised = raised_above(greatest)
    assert raised <= keys.MAX_ID
    assert raised == keys.MAX_ID or STEP <= raised - greatest <= 2 * STEP
    assert raised == keys.MAX_ID or raised % STEP == 0
