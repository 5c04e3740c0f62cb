"""The pool of PostgreSQL connections, its time limits, and the errors that mean an outage."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared import pool_metrics, traces
from shared.connector import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, Connector
from shared.errors import AttachmentsError
from shared.kept import Kept, Lease
from shared.metrics import DATABASE_ERRORS
from shared.outages import DATABASE
from shared.part_settings import DatabaseSettings
from shared.refusals import DISK_FULL, Refusal, explain, find_refusal

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
P = ParamSpec("P")
T = TypeVar("T")

ACQUIRE_TIMEOUT_S = CONNECT_TIMEOUT_S

# PostgreSQL itself cancels a statement that runs longer than its caller waits
# (limits.md, "Settings, with reasons").
SERVER_SETTINGS = {
    "application_name": "attachments",
    "statement_timeout": "5000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
}

# Errors after which an immediate retry may succeed, with a new connection or at another server.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, cancelled by an operator
    asyncpg.InsufficientResourcesError,  # disk, memory or connections
    asyncpg.PostgresSystemError,  # an error of the server's files
    asyncpg.InvalidAuthorizationSpecificationError,  # also a wrong password
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a database that accepts no connections
    asyncpg.ReadOnlySQLTransactionError,  # the server is no longer the primary
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
SLOW = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError)
# These errors mean that a pooler executed the statement in another session than the one that
# prepared it.
MIXED_UP = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
# After these errors, a statement may be repeated once. Either the first run changed nothing, or the
# statement changes nothing when it is repeated.
PASSING = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,  # a migration has just changed a table
    *MIXED_UP,
    *AWAY,
)

DRIVER = (asyncpg.PostgresError, *AWAY)


class DatabaseAway(AttachmentsError):
    """PostgreSQL cannot be reached, refuses the service, or did not answer within the time limits.

    The message has the cause and the remedy. `refusal` has them as separate fields; it is None if
    the error was raised with a plain text.
    """

    def __init__(self, why: str | Refusal) -> None:
        super().__init__(str(why))
        self.refusal = why if isinstance(why, Refusal) else None

    def report(self) -> None:
        """Record an outage of the database. If PostgreSQL only refused values, record nothing."""
        refusal = self.refusal
        if refusal is None or not refusal.of_content:
            DATABASE.fault(str(self), only_writes=refusal is not None and refusal.of_writes)


class DatabaseForbids(DatabaseAway):
    """The database role lacks a privilege (SQLSTATE 42501)."""


class DatabaseRefusesContent(DatabaseAway):
    """PostgreSQL refuses the values in one statement, but accepts others. A retry does not help."""


def _away(error: BaseException, refusal: Refusal) -> DatabaseAway:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return DatabaseForbids(refusal)
    return (DatabaseRefusesContent if refusal.of_content else DatabaseAway)(refusal)


def _do_nothing() -> None:
    pass


async def _keep_session(_connection: object) -> None:
    """Replace asyncpg's reset of a released connection. The reset is not needed, because no
    statement changes the settings of a session."""


@dataclass(slots=True)
class Full:
    """Remembers that a write failed because the server's disk was full, until a write succeeds.

    `asked_at` is the time of the last test write, in monotonic seconds.
    """

    seen: bool = False
    asked_at: float = 0.0


class Database:
    """A limited pool of connections. The service executes every statement with `run`.

    `on_queued` is called after a commit that queued deliveries of webhooks.
    """

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", connector: Connector | None = None
    ) -> None:
        self.pool = pool
        self._kept = Kept(pool)
        self.connector = connector
        self.full = Full()
        self.on_queued: Callable[[], None] = _do_nothing
        self._abandoned: set[asyncio.Task[Any]] = set()
        pool_metrics.show(self)

    @property
    def connections(self) -> tuple[int, int, int]:
        """The numbers of used and free connections, and the maximum number of open connections."""
        free = self.pool.get_idle_size() + self._kept.spare
        return max(0, self.pool.get_size() - free), free, self.pool.get_max_size()

    async def run(
        self,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `function(connection, …)`. Call it again once after a transient fault.

        Raises DatabaseAway if a connection takes more than 2 s, if a statement takes more than 5 s,
        or if the server refuses the statement for a reason in `shared.refusals`. DatabaseForbids
        and DatabaseRefusesContent are two such reasons. `function` must be safe to repeat.
        """
        try:
            if traces.recorder is None:
                answer = await self._run_twice(function, *args, **kwargs)
            else:
                with traces.statement(function):
                    answer = await self._run_twice(function, *args, **kwargs)
        except DatabaseAway as error:
            error.report()
            raise
        DATABASE.success()
        return answer

    async def _run_twice(
        self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> T:
        for last in (False, True):
            try:
                lease = self._kept.take_kept() or await self._take()
                try:
                    answer = await function(lease.connection, *args, **kwargs)
                    session: Any = lease.connection  # the pool gives a proxy of a `Session`
                    if session.take_queued():
                        self.on_queued()
                    kept = self._kept.keep(lease)
                except BaseException:
                    await self._kept.give_back(lease)
                    raise
                if not kept:
                    await self._kept.give_back(lease)
                return answer
            except DRIVER as error:
                refusal = find_refusal(error, self._place)
                if refusal is None:
                    raise
                if refusal.code == DISK_FULL:
                    self.full.seen = True
                again = isinstance(error, PASSING) and not isinstance(error, SLOW)
                if isinstance(error, (asyncpg.ReadOnlySQLTransactionError, *MIXED_UP)):
                    await self._renew_sessions(error)
                if last or not again:
                    DATABASE_ERRORS.inc()
                    raise _away(error, refusal) from error
        raise AssertionError("unreachable")

    @property
    def _place(self) -> str:
        return self.connector.server if self.connector is not None else ""

    async def _take(self) -> Lease:
        try:
            return await self._kept.take()
        except asyncpg.PostgresError as error:
            if find_refusal(error) is None:  # no statement has run, so the error is no bug of ours
                raise DatabaseAway(explain(error, self._place)) from error
            raise

    async def _renew_sessions(self, error: Exception) -> None:
        """Use only new sessions from now on, because the present ones are read-only or mixed up."""
        if isinstance(error, MIXED_UP) and self.connector is not None:
            self.connector.fall_back()
        await self._kept.renew()

    async def run_within(
        self,
        timeout_s: float,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do the same as `run`, with a shorter time limit.

        Raises DatabaseAway after `timeout_s` seconds. The statement may still take effect on the
        server.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.run(function, *args, **kwargs))
        ended = loop.create_future()
        timer = loop.call_later(timeout_s, _end, ended)
        task.add_done_callback(lambda _: _end(ended))
        try:
            await ended
        finally:
            timer.cancel()
            if not task.done():
                # Do not wait for the task: asyncpg cancels a statement at the server, which may not
                # answer.
                task.cancel()
                self._abandoned.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            error = DatabaseAway("no answer in time")
            error.report()
            raise error
        return task.result()

    async def close(self) -> None:
        """Close all connections after their running statements have ended."""
        await self._kept.close()
        await self.pool.close()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved, so that asyncio does not log it


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@asynccontextmanager
async def open_database(
    settings: DatabaseSettings, *, size: int | None = None
) -> AsyncIterator[Database]:
    """Open a pool of up to `size` connections; the default is the setting.

    A connection is opened when it is first needed, so a process can start without the database.
    """
    connector = Connector(settings.database_url.get_secret_value(), SERVER_SETTINGS)
    pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
        connect=connector.connect,
        min_size=0,
        max_size=size or settings.database_pool,
        command_timeout=COMMAND_TIMEOUT_S,
        reset=_keep_session,
    )
    database = Database(pool, connector)
    try:
        yield database
    finally:
        try:
            async with asyncio.timeout(5):
                await database.close()
        except TimeoutError:
            pool.terminate()


def affected(status: str) -> int:
    """Return the number of rows in PostgreSQL's answer to a statement, such as `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[-1])


JsonObject: TypeAlias = dict[str, Any]
