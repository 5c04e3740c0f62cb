"""The sequence of attachment ids, and a search of the bucket for originals with higher ids.

Such originals exist after rows were lost (by a restore, or a failover to a replica that lagged), or
if a second deployment uses the bucket. Then new rows would get the ids, and so the keys, of
existing objects. And policies of lost rows may still allow uploads to these keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared import keys
from shared.database import Connection, Database
from shared.errors import IdsUndecided
from shared.storage import Storage

STEP = 1_000_000
"""The sequence is raised at least this far above every known id, to a multiple of STEP. So the id
of a lost row is not used again, even if its object has not arrived yet."""

MAX_LISTINGS = 200
"""The search for ids of up to nine digits lists at most this many folders. If no id is above the
sequence, it lists three folders. It lists more if the store still shows folders whose objects were
deleted (SeaweedFS does so for some minutes). After the limit, it lists keys instead."""

KEY_PAGES = 10
"""After MAX_LISTINGS folders, at most this many pages of keys are listed. The first page begins
above the sequence."""

LONGER_LISTINGS = 10
"""The search for ids of more than nine digits lists at most this many folders. It begins directly
above the sequence, because lost ids are there. It runs only if there is a top folder `001` or
higher, which exists if ids have reached a million."""

RACES = 5
"""The search is repeated at most this many times while other processes take ids and uploads
arrive."""


async def find_last_id(connection: Connection) -> int:
    """Return the last id that the sequence has given, or 0. Needs SELECT on the sequence."""
    name = await _name(connection)
    row = await connection.fetchrow(f"SELECT last_value, is_called FROM {name}")
    assert row is not None
    return int(row[0]) if row[1] else int(row[0]) - 1


async def find_greatest_row(connection: Connection) -> int:
    """Return the greatest id of all rows, or 0 if there is no row."""
    return int(await connection.fetchval("SELECT max(a.id) FROM attachments AS a") or 0)


async def raise_sequence(connection: Connection, last_id: int) -> bool:
    """Raise the sequence to `last_id` if it is lower. Returns whether it was raised.

    May be repeated. Needs UPDATE on the sequence.
    """
    name = await _name(connection)
    raised = await connection.fetchval(
        f"SELECT setval($1::text::regclass, $2) FROM {name} WHERE last_value < $2", name, last_id
    )
    return raised is not None


async def mend_sequence(database: Database, greatest: int) -> int | None:
    """Raise the sequence at least STEP above `greatest` and the ids of all rows.

    Returns the new value of the sequence. Returns None and changes nothing if none of these ids is
    above the sequence. Safe while processes run. May be repeated.
    """
    greatest = max(greatest, await database.run(find_greatest_row))
    last_id = await database.run(find_last_id)
    if greatest <= last_id:
        return None
    raised = raised_above(greatest)
    return raised if await database.run(raise_sequence, raised) else None


async def keep_clear(database: Database, lost_id: int) -> int | None:
    """Raise the sequence STEP above every known id, unless it is STEP above `lost_id` already.

    `lost_id` is the id of a lost row. The sequence has already been raised above this id. Other
    lost rows may have had ids above the sequence. Their policies may still be valid, even if their
    objects have not arrived. Returns the new value of the sequence, or None if it was not changed.
    Safe while processes run. May be repeated.
    """
    last_id = await database.run(find_last_id)
    if last_id >= lost_id + STEP:
        return None
    raised = raised_above(max(last_id, lost_id, await database.run(find_greatest_row)))
    return raised if await database.run(raise_sequence, raised) else None


async def _name(connection: Connection) -> str:
    # PostgreSQL returns the name in quotes, so it can be used in a statement.
    return str(await connection.fetchval("SELECT pg_get_serial_sequence('attachments', 'id')"))


def raised_above(greatest: int) -> int:
    """Return the new value of the sequence: one to two steps above `greatest`."""
    return min((greatest // STEP + 2) * STEP, keys.MAX_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenId:
    """The id of an original in the bucket, above the last id that the sequence has given."""

    attachment_id: int
    last_id: int

    def __str__(self) -> str:
        return (
            f"the bucket holds originals with ids up to {self.attachment_id} or more, but the"
            f" database has assigned ids only up to {self.last_id}: rows were lost, or another"
            " deployment uses the bucket; run `attachments reconcile --mend`"
        )


async def find_taken_id(database: Database, storage: Storage) -> TakenId | None:
    """Search the bucket for originals with ids above the sequence. Return the greatest one found.

    None proves that there is no such id of up to nine digits. Longer ids are found if the lowest of
    them is at most some thousands above the sequence, or if there are only a few. If many folders
    are empty, the returned id may not be the greatest. Safe while processes create ids. Raises
    IdsUndecided if the limits ended the search too early, StoreError (StoreRefused without
    s3:ListBucket), and DatabaseAway (DatabaseForbids if the role may not read the sequence).
    """
    last_id = await database.run(find_last_id)
    for _ in range(RACES):
        found = await IdSearch(storage, last_id).find()
        last_id = await database.run(find_last_id)
        if found is None:
            return None
        if found > last_id:
            return TakenId(attachment_id=found, last_id=last_id)
    raise IdsUndecided(f"other transactions took ids during the check, {RACES} times")


class _UsedUp(Exception):
    """The search has used up its limit of listings."""


@dataclass(slots=True)
class IdSearch:
    """Searches the folders of keys: three or more levels of three digits each, then `original/`.

    An id of up to nine digits has three levels, one of up to twelve has four, and so on. A folder
    at the third level may contain both kinds: `001/000/000/original/` is the id 1,000,000, and
    `001/000/000/000/original/` is the id 1,000,000,000.
    """

    storage: Storage
    last_id: int
    left: int = field(default=0, init=False)
    met_empty: bool = field(default=False, init=False)

    async def find(self) -> int | None:
        """Return the greatest id of up to nine digits above `last_id`, else a longer id, or None.

        Raises IdsUndecided if the allowed number of listings did not suffice.
        """
        self.left = MAX_LISTINGS
        top = await self._names(())
        found = None
        if self.last_id < 10**9 - 1:
            try:
                found = await self._nine_digits((), top)
            except _UsedUp:
                found = await self._listed()
        # The keys of longer ids begin with 001 or a greater number.
        if found is None and any(name > "000" for name in top):
            self.left, self.met_empty = LONGER_LISTINGS, False
            least = keys.partition(max(self.last_id + 1, 10**9)).split("/")
            try:
                found = await self._longer((), top, least)
            except _UsedUp:
                # If many folders belong to ids in use, the limit is reached too. That is normal,
                # and no lost id was found. The search is undecided only if a folder was empty.
                if self.met_empty:
                    raise IdsUndecided("too many folders above the sequence are empty") from None
        return found

    async def _listed(self) -> int | None:
        """List keys, and return the id of the first original above `last_id`.

        A listing of keys has no empty folders. Keys of ids of up to nine digits are listed in the
        order of the ids. Raises IdsUndecided if the first KEY_PAGES pages have no such key.
        """
        pages = 0
        # The name of a style has only characters that sort before `~`, so all keys of `last_id`
        # are skipped.
        after = f"{keys.PREFIX}{keys.partition(self.last_id)}/~"
        async for page in self.storage.list_keys(keys.PREFIX, after=after):
            for key, _ in page:
                parsed = keys.parse_key(key)
                if parsed is not None and parsed[1] == "original" and parsed[0] > self.last_id:
                    return parsed[0]
            pages += 1
            if pages >= KEY_PAGES:
                raise IdsUndecided("too many keys above the sequence are not keys of originals")
        return None

    async def _nine_digits(self, groups: tuple[str, ...], names: Sequence[str]) -> int | None:
        for name in sorted((name for name in names if name != "original"), reverse=True):
            inner = (*groups, name)
            if int("".join(inner).ljust(9, "9")) <= self.last_id:
                break
            found = None
            if len(inner) < 3:
                found = await self._nine_digits(inner, await self._names(inner))
            elif await self._holds_original(inner):
                found = int("".join(inner))
            if found is not None:
                return found
        return None

    async def _longer(
        self, groups: tuple[str, ...], names: Sequence[str], least: Sequence[str]
    ) -> int | None:
        if len(groups) > 3 and "original" in names:
            found = int("".join(groups))
            valid = found <= keys.MAX_ID and keys.partition(found) == "/".join(groups)
            if valid and found > self.last_id and await self._holds_original(groups):
                return found
        tight = list(groups) == list(least[: len(groups)])
        for name in sorted(name for name in names if name != "original"):
            if tight and len(groups) < len(least) and name < least[len(groups)]:
                continue
            inner = (*groups, name)
            found_inside = await self._longer(inner, await self._names(inner), least)
            if found_inside is not None:
                return found_inside
        return None

    async def _names(self, groups: tuple[str, ...]) -> list[str]:
        """List the subfolders whose names are three digits or `original`."""
        if len(groups) > 7:
            return []
        self._use_one()
        found = await self.storage.list_prefixes(_folder(groups))
        names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found]
        return [
            name
            for name in names
            if name == "original" or (len(name) == 3 and name.isascii() and name.isdigit())
        ]

    async def _holds_original(self, groups: tuple[str, ...]) -> bool:
        """Return whether a folder has an original, because a store may list empty folders."""
        self._use_one()
        async for page in self.storage.list_keys(f"{_folder(groups)}original/", page_size=1):
            if page:
                return True
        self.met_empty = True
        return False

    def _use_one(self) -> None:
        if self.left <= 0:
            raise _UsedUp
        self.left -= 1


def _folder(groups: tuple[str, ...]) -> str:
    return "".join([keys.PREFIX, *(f"{group}/" for group in groups)])
