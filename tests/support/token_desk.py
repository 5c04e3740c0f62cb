"""The API's token cache, for tests that count the token look-ups or delay their answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from api.callers import Tokens
from api.database_listener import Listener
from shared.database import Database, open_database
from shared.settings import Settings
from shared.tokens import Caller, Issued, digest, issue_token
from tests.support.proxy import Proxy
from tests.support.service import until


class Counting(Database):
    """A database that counts the calls of `run`."""

    count = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Count a call, and run it in the database."""
        self.count += 1
        return await super().run(function, *args, **kwargs)


@dataclass(kw_only=True)
class Desk:
    """The API's token cache, which reads tokens from a real database.

    The test sets the cache's clock.

    Only look-ups go through `proxy`. The connection `direct`, and the connection that listens for
    token changes, do not use the proxy.
    """

    settings: Settings
    direct: "asyncpg.Connection[asyncpg.Record]"
    proxy: Proxy
    database: Counting
    organization_id: int
    now: float = 0.0
    forgot: int = 0
    tokens: Tokens = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.database, clock=lambda: self.now)

    def forget(self) -> None:
        """Clear the cache, and count how often it has been cleared."""
        self.forgot += 1
        self.tokens.forget()

    async def issue(self, **options: Any) -> Issued:
        """Create a token for the organization."""
        return await issue_token(self.direct, self.organization_id, "test", **options)

    async def find(self, token: Issued) -> Caller | None:
        """Return the caller of a token, from the cache or the database."""
        return await self.tokens.find(digest(token.plain))

    async def answer_is_held(self) -> None:
        """Wait until the proxy holds back the database's answer to a look-up."""

        async def held() -> bool:
            return self.proxy.held > 0

        await until(held)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for notifications of token changes in the block."""
        async with open_database(self.settings) as database:
            listener = Listener(self.settings, database, self.forget)
            task = asyncio.create_task(listener.run())

            async def hears() -> bool:
                return listener.hears

            try:
                await until(hears)
                self.forgot = 0
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def forgets(self) -> None:
        """Wait until a notification has cleared the cache."""

        async def heard() -> bool:
            return self.forgot > 0

        await until(heard)
