"""Read the rows of many attachments with one statement, for clients that wait.

Thousands of clients may begin to wait, or be woken, at the same time. If each needed its own
statement, they would use up the connections of their organization, and further clients would be
refused.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from shared import attachments
from shared.attachments import Attachment
from shared.database import Database, DatabaseAway

MAX_ROWS: Final = 100
"""Maximum number of rows that one statement reads. To read them takes a few milliseconds."""

TICKETS: Final = "tickets"
"""In the turns, the key of an organization is its id. All clients with tickets use this key
instead, because their organization is known only after the row is read."""

_Found: TypeAlias = "asyncio.Future[Attachment | None]"


@dataclass(slots=True, kw_only=True)
class _Group:
    """The reads that one statement answers, by the attachment's id."""

    reads: dict[int, list[_Found]] = field(default_factory=dict)

    def end(self, rows: dict[int, Attachment], error: Exception | None) -> None:
        for attachment_id, futures in self.reads.items():
            for future in futures:
                if future.done():  # the client no longer waits
                    continue
                if error is None:
                    future.set_result(rows.get(attachment_id))
                else:
                    future.set_exception(error)


class RowGroups:
    """Reads rows in groups. One statement runs at a time; the reads that wait share the next one.

    In a group, organizations take turns, row by row. So the first read of an organization is in the
    next group, even if thousands of reads of another organization wait.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: OrderedDict[Hashable, OrderedDict[int, list[_Found]]] = OrderedDict()
        self._reader: asyncio.Task[None] | None = None

    async def find(self, attachment_id: int, organization_id: int) -> Attachment | None:
        """Find an attachment of an organization. Returns None if it does not exist or is deleted.

        The statement begins after this call, so it sees all commits before the call. Raises
        DatabaseAway.
        """
        row = await self._read(attachment_id, organization_id)
        return None if row is None or row.organization_id != organization_id else row

    async def find_for_ticket(self, attachment_id: int) -> Attachment | None:
        """Find an attachment of any organization, for a client whose ticket was checked.

        Returns None if it does not exist or is deleted. Raises DatabaseAway.
        """
        return await self._read(attachment_id, TICKETS)

    async def _read(self, attachment_id: int, key: Hashable) -> Attachment | None:
        found: _Found = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, OrderedDict()).setdefault(attachment_id, []).append(found)
        if self._reader is None:
            # The task begins in the next iteration of the event loop, so that all requests of this
            # iteration join the group. The task's context is empty, because it belongs to no single
            # request.
            self._reader = asyncio.create_task(self._read_all(), context=Context())
        row = await found
        return None if row is None or row.deleted_at is not None else row

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                group = self._take_group()
                if not group.reads:
                    continue
                try:
                    rows = await self._database.run(attachments.find_rows, list(group.reads))
                    group.end(rows, None)
                except DatabaseAway as error:
                    # Give the error to the other groups too. Otherwise each group would wait for
                    # the same outage, one after the other.
                    group.end({}, error)
                    while self._waiting:
                        self._take_group().end({}, error)
                except Exception as error:  # after a bug too, no client of the group waits forever
                    group.end({}, error)
        finally:
            self._reader = None

    def _take_group(self) -> _Group:
        group = _Group()
        while self._waiting and len(group.reads) < MAX_ROWS:
            key, reads = self._waiting.popitem(last=False)
            attachment_id, futures = reads.popitem(last=False)
            if reads:
                self._waiting[key] = reads  # move the key to the end
            futures = [each for each in futures if not each.done()]
            if futures:
                group.reads.setdefault(attachment_id, []).extend(futures)
        return group
