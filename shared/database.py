"""The pool of PostgreSQL connections, its bounds, and what counts as "the database is away"."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from shared.errors import AttachmentsError
from shared.kept import Kept
from shared.settings import Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
P = ParamSpec("P")
T = TypeVar("T")

ACQUIRE_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0

# PostgreSQL ends by itself what runs longer than a caller waits for it (safety.md).
SERVER_SETTINGS = {
    "application_name": "attachments",
    "statement_timeout": "5000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
}

# It cannot be reached, or refuses us for what the operator has to mend.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, started, cancelled by hand
    asyncpg.InsufficientResourcesError,  # of disk, memory, connections
    asyncpg.PostgresSystemError,  # of its files
    asyncpg.InvalidAuthorizationSpecificationError,  # of the password too
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a database that takes no connections
    asyncpg.ReadOnlySQLTransactionError,  # a primary that is none any more
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
OUTDATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
SLOW = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError)
# Safe to run once more: the first run changed nothing, or every statement is guarded.
PASSING = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, *AWAY)


class DatabaseAway(AttachmentsError):
    """PostgreSQL cannot be reached, refuses us, or did not answer within the time limits."""


async def _keep_session(_connection: object) -> None:
    """Skip asyncpg's reset on release: no statement here leaves anything in its session."""


class Database:
    """A bounded pool; every statement of the service runs through `run`."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.pool = pool
        self._kept = Kept(pool)
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `function(connection, …)`, once more after a passing fault.

        Raises DatabaseAway when no answer comes within the limits (acquire 2 s, statement 5 s),
        or none but that this server is not for us: see AWAY.
        `function` must be safe to repeat: one guarded statement, or one transaction.
        """
        for last in (False, True):
            try:
                lease = self._kept.take_kept() or await self._kept.take()
                try:
                    answer = await function(lease.connection, *args, **kwargs)
                    kept = self._kept.keep(lease)
                except BaseException:
                    await self._kept.give_back(lease)
                    raise
                if not kept:
                    await self._kept.give_back(lease)
                return answer
            except OUTDATED as error:
                raise DatabaseAway("the schema is outdated: run attachments migrate") from error
            except SLOW as error:
                raise DatabaseAway(type(error).__name__) from error
            except PASSING as error:
                if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    # Whoever may be written to now, our sessions are not with them: make new ones.
                    await self._kept.give_all_back()
                    await self.pool.expire_connections()
                if last:
                    raise DatabaseAway(type(error).__name__) from error
        raise AssertionError("unreachable")

    async def run_within(
        self,
        timeout_s: float,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do as `run`, for a caller that cannot wait for its limits.

        Raises DatabaseAway after `timeout_s`. What was asked may take effect all the same: of a
        server that does not answer nobody can tell.
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
                # Not awaited: to end a statement asyncpg asks the server that does not answer.
                task.cancel()
                self._abandoned.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise DatabaseAway("no answer in time")
        return task.result()

    async def close(self) -> None:
        """Close all connections once their statements have ended."""
        await self._kept.close()
        await self.pool.close()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, lest asyncio report it


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@asynccontextmanager
async def open_database(settings: Settings, *, size: int | None = None) -> AsyncIterator[Database]:
    """Open a pool of `size` connections, by default as many as the setting allows.

    Connections are made when first needed, so the process starts without the database.
    """
    pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=size or settings.database_pool,
        timeout=ACQUIRE_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings=SERVER_SETTINGS,
        reset=_keep_session,
    )
    database = Database(pool)
    try:
        yield database
    finally:
        try:
            async with asyncio.timeout(5):
                await database.close()
        except TimeoutError:
            pool.terminate()


def affected(status: str) -> int:
    """Read the number of rows from a command tag such as `UPDATE 3`."""
    return int(status.rsplit(" ", 1)[-1])


Row: TypeAlias = "asyncpg.Record"
JsonObject: TypeAlias = dict[str, Any]
