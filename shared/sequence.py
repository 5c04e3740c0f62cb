"""The sequence of attachment ids, and whether the bucket holds originals with ids above it.

It does after rows were lost (a restore, a failover to a replica that was behind) or while a second
deployment uses the bucket. New rows would then be given ids, and so keys, under which other
objects lie, and which the policies of lost rows may still let others write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared import keys
from shared.database import Connection, Database
from shared.storage import Storage

STEP = 1_000_000
"""Ids are raised to a multiple of this, at least as far above all that is known: ids that a lost
row may have had, but of which no object has come yet, are then not given again either."""

MAX_LISTINGS = 200
"""How many listings one search makes at most. Where no id is above the sequence it makes three,
and ten more where ids have reached a million. Only folders that a store still lists after their
objects have been deleted (SeaweedFS, for some minutes) cost more."""

LONGER_LISTINGS = 10
"""How many of them look for ids of more than nine digits, from the first one above the sequence
on: lost ids lie directly above it."""

RACES = 5
"""How often the search is repeated while other processes hand out ids and uploads come."""


async def find_last_id(connection: Connection) -> int:
    """Tell the greatest id that the sequence has handed out; 0 if none. Needs SELECT on it."""
    name = await _name(connection)
    row = await connection.fetchrow(f"SELECT last_value, is_called FROM {name}")
    assert row is not None
    return int(row[0]) if row[1] else int(row[0]) - 1


async def find_greatest_row(connection: Connection) -> int:
    """Tell the greatest id of all rows; 0 if there is none."""
    return int(await connection.fetchval("SELECT max(a.id) FROM attachments AS a") or 0)


async def raise_sequence(connection: Connection, last_id: int) -> bool:
    """Have ids go on above `last_id`, unless they do already. Needs UPDATE on the sequence."""
    name = await _name(connection)
    raised = await connection.fetchval(
        f"SELECT setval($1::text::regclass, $2) FROM {name} WHERE last_value < $2", name, last_id
    )
    return raised is not None


async def mend_sequence(database: Database, greatest: int) -> int | None:
    """Have ids go on well above `greatest` and above all rows; returns the last id then.

    None, and nothing has changed, if they do already. Safe beside running processes.
    """
    greatest = max(greatest, await database.run(find_greatest_row))
    last_id = await database.run(find_last_id)
    if greatest <= last_id:
        return None
    raised = raised_above(greatest)
    return raised if await database.run(raise_sequence, raised) else None


async def _name(connection: Connection) -> str:
    # Quoted by PostgreSQL, as it must stand in a statement.
    return str(await connection.fetchval("SELECT pg_get_serial_sequence('attachments', 'id')"))


def raised_above(greatest: int) -> int:
    """Give the value to raise the sequence to: from one to two steps above `greatest`."""
    return min((greatest // STEP + 2) * STEP, keys.MAX_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenId:
    """An original in the bucket whose id is above all that the sequence has handed out."""

    attachment_id: int
    last_id: int

    def __str__(self) -> str:
        return (
            f"the bucket holds originals with ids up to {self.attachment_id} or more, but the"
            f" database has only handed out ids up to {self.last_id}: rows were lost, or another"
            " deployment uses the bucket; run `attachments reconcile --mend`"
        )


async def find_taken_id(database: Database, storage: Storage) -> TakenId | None:
    """Look for originals with ids above the sequence; returns the greatest that was found.

    May be run while ids are handed out. Ids of up to nine digits are found with certainty, longer
    ones where they begin within some thousands above the sequence, or are few. Raises StoreError
    (StoreRefused without s3:ListBucket), DatabaseAway, asyncpg.InsufficientPrivilegeError.
    """
    last_id = await database.run(find_last_id)
    for _ in range(RACES):
        found = await _Search(storage, last_id).find()
        last_id = await database.run(find_last_id)
        if found is None:
            return None
        if found > last_id:
            return TakenId(attachment_id=found, last_id=last_id)
    return None  # every one that was found had been handed out in the meantime


@dataclass(slots=True)
class _Search:
    """Walks the folders of keys: three digits a level, from three levels on, then `original/`.

    An id of nine digits or fewer has three levels, one of up to twelve has four, and so on. A
    folder of three levels may hold both: `001/000/000/original/` and `001/000/000/000/original/`.
    """

    storage: Storage
    last_id: int
    left: int = field(default=MAX_LISTINGS, init=False)

    async def find(self) -> int | None:
        """Find the greatest id of up to nine digits above `last_id`, else a longer one."""
        top = await self._names(())
        found = await self._nine_digits((), top) if self.last_id < 10**9 - 1 else None
        if found is None and any(name > "000" for name in top):  # longer ids begin with 001
            self.left = min(self.left, LONGER_LISTINGS)
            least = keys.partition(max(self.last_id + 1, 10**9)).split("/")
            found = await self._longer((), top, least)
        return found

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
            if found is not None or self.left <= 0:
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
            if self.left <= 0:
                return None
            if tight and len(groups) < len(least) and name < least[len(groups)]:
                continue
            inner = (*groups, name)
            found_inside = await self._longer(inner, await self._names(inner), least)
            if found_inside is not None:
                return found_inside
        return None

    async def _names(self, groups: tuple[str, ...]) -> list[str]:
        """List what a folder holds of groups of digits and of `original`."""
        if self.left <= 0 or len(groups) > 7:
            return []
        self.left -= 1
        found = await self.storage.list_prefixes(_folder(groups))
        names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found]
        return [
            name
            for name in names
            if name == "original" or (len(name) == 3 and name.isascii() and name.isdigit())
        ]

    async def _holds_original(self, groups: tuple[str, ...]) -> bool:
        """Whether there really is an object: a store may list folders that are empty by now."""
        if self.left <= 0:
            return False
        self.left -= 1
        async for page in self.storage.list_keys(f"{_folder(groups)}original/", page_size=1):
            if page:
                return True
        return False


def _folder(groups: tuple[str, ...]) -> str:
    return "".join([keys.PREFIX, *(f"{group}/" for group in groups)])
