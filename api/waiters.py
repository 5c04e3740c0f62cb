"""Let clients wait until an attachment is settled. A notification of the database wakes them.

A waiting client uses no database connection. When clients arrive or wake up, their rows are read in
groups (`api.row_groups`).
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from api.pauses import is_set_within
from api.problems import too_many_requests, unavailable
from api.row_groups import RowGroups
from shared import settling
from shared.attachments import Attachment
from shared.database import Database, DatabaseAway
from shared.errors import Busy
from shared.log import get_logger
from shared.states import SETTLED

MAX_WAIT_S = 30

MAX_WAITERS = 10_000
"""Maximum number of waiting clients in one process."""

MAX_WAITERS_EACH = 5_000
"""Maximum number of waiting clients of one organization in one process."""

MAX_BY_TICKET = 2_500
"""A client with a ticket may wait only while fewer than this number of clients of the same
organization wait. So pages cannot use up MAX_WAITERS_EACH, and the organization's backend can still
wait."""

MAX_BY_TICKET_EACH = 20
"""A client with a ticket may wait only while fewer than this number of clients wait for the same
attachment. The number is low, because a ticket can be copied and needs no token."""

LOOK_EVERY_S = 1.0

ANNOUNCED_S = 60.0
RENEW_EVERY_S = 20.0

UNSURE_S = 2.5
"""For this many seconds, the rows of waiting clients are read every second, even if notifications
arrive. This period begins after a gap in the notifications. It also begins after this process has
announced its first waiting client, because transactions that are already running do not see the
announcement and send no notification.
"""

log = get_logger(__name__)


class _Waiter:
    """One waiting client. `woken` is set when the row may be settled."""

    __slots__ = ("gone", "woken")

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.gone = False

    def leave(self) -> None:
        self.gone = True
        self.woken.set()


class Waiters:
    """The waiting clients of one process.

    `hears` returns True while notifications arrive. While none arrive, one query per second checks
    the rows of all clients. `rows` reads the rows of clients that come or are woken.
    """

    def __init__(self, database: Database) -> None:
        self.hears: Callable[[], bool] = lambda: False
        self.rows = RowGroups(database)
        self._database = database
        self._process = uuid4()
        self._waiting: dict[int, set[_Waiter]] = {}
        self._counts: dict[int, int] = {}
        self._any = asyncio.Event()
        self._ended = False
        self._renew_at = self._announced_until = self._unsure_until = 0.0

    @property
    def count(self) -> int:
        """The number of waiting clients."""
        return sum(self._counts.values())

    async def wait(
        self,
        attachment_id: int,
        organization_id: int,
        *,
        within_s: float,
        note_leave: Callable[[Callable[[], None] | None], None],
        by_ticket: bool = False,
    ) -> Attachment | None:
        """Return a row as soon as it is settled, or in its present state after `within_s` seconds.

        `note_leave` is called with a function that the caller must call if the client leaves. At
        the end, `note_leave` is called with None. If `by_ticket` is true, the client has no token.
        Returns None if the organization has no such row. Raises Problem 429 or 503 if too many
        clients wait, and DatabaseAway.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        with self._place(attachment_id, organization_id, by_ticket=by_ticket) as waiter:
            note_leave(waiter.leave)
            try:
                row = await self.rows.find(attachment_id, organization_id)
                while row is not None and row.state not in SETTLED and not waiter.gone:
                    in_time = await is_set_within(waiter.woken, deadline - loop.time())
                    if waiter.gone:
                        break
                    waiter.woken.clear()
                    row = await self.rows.find(attachment_id, organization_id)
                    if not in_time or self._ended:
                        break
                return row
            finally:
                note_leave(None)

    def notice(self, payload: str) -> None:
        """Wake the clients that wait for an attachment. `payload` is the attachment's id."""
        self._wake(int(payload))

    def doubt(self) -> None:
        """Check all rows soon, because a notification may have been missed."""
        self._unsure_until = asyncio.get_running_loop().time() + UNSURE_S

    def end(self) -> None:
        """Answer all waiting clients now. Clients that come later do not wait."""
        self._ended = True
        for attachment_id in self._waiting:
            self._wake(attachment_id)

    async def run(self) -> None:
        """While clients wait, announce this to the database every RENEW_EVERY_S seconds.

        If no notifications arrive, check the rows of all clients every LOOK_EVERY_S seconds.
        """
        while True:
            await self._any.wait()
            try:
                await self._look()
            except (DatabaseAway, Busy):
                pass  # already logged; the next check is a second later
            except Exception:  # the next check may succeed, and clients must not wait forever
                log.exception("waiting clients could not be checked")
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._waiting:
                self._any.clear()

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.hears() and now >= self._renew_at:
            await self._database.run(settling.announce_waiting, self._process, within_s=ANNOUNCED_S)
            if now >= self._announced_until:
                self.doubt()
            self._renew_at = now + RENEW_EVERY_S
            self._announced_until = now + ANNOUNCED_S - LOOK_EVERY_S
        if (not self.hears() or now < self._unsure_until) and self._waiting:
            for settled in await self._database.run(settling.find_settled, list(self._waiting)):
                self._wake(settled)

    def _wake(self, attachment_id: int) -> None:
        for waiter in self._waiting.get(attachment_id, ()):
            waiter.woken.set()

    @contextmanager
    def _place(
        self, attachment_id: int, organization_id: int, *, by_ticket: bool
    ) -> Iterator[_Waiter]:
        held = self._counts.get(organization_id, 0)
        if held >= (MAX_BY_TICKET if by_ticket else MAX_WAITERS_EACH):
            raise too_many_requests(retry_after_s=1)
        if by_ticket and len(self._waiting.get(attachment_id, ())) >= MAX_BY_TICKET_EACH:
            raise too_many_requests(retry_after_s=1)
        if self.count >= MAX_WAITERS:
            raise unavailable()
        waiter = _Waiter()
        if self._ended:
            waiter.woken.set()
        self._counts[organization_id] = held + 1
        self._waiting.setdefault(attachment_id, set()).add(waiter)
        self._any.set()
        try:
            yield waiter
        finally:
            waiters = self._waiting[attachment_id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiting[attachment_id]
            self._counts[organization_id] -= 1
            if not self._counts[organization_id]:
                del self._counts[organization_id]
