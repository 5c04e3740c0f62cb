"""Who asks: tokens to organizations, and how often each organization may ask.

A token that was looked up is remembered for as long as this process hears of every change to the
table of tokens: a revoked one is refused within milliseconds, and no request pays a query for it.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
from aiohttp import web

from api.problems import access_denied, too_many_requests, unauthenticated
from shared.database import SERVER_SETTINGS, Connection, Database
from shared.log import get_logger
from shared.organizations import digest
from shared.settings import Settings

CHANNEL = "attachments_tokens"
REMEMBERED = 10_000
LISTEN_AGAIN_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The organization on whose behalf a request comes, and the person, if the token has one."""

    organization_id: int
    person_id: int | None


async def find_caller(connection: Connection, token_digest: bytes) -> Caller | None:
    """Look up a live token by its digest."""
    row = await connection.fetchrow(
        "SELECT organization_id, person_id FROM tokens WHERE digest = $1 AND revoked_at IS NULL",
        token_digest,
    )
    return Caller(organization_id=row[0], person_id=row[1]) if row else None


class Gate:
    """Tells callers from their tokens, and holds each organization to its rate."""

    def __init__(self, database: Database, rate_limit: int) -> None:
        self._database = database
        self._known: dict[bytes, Caller] = {}
        self._listening = False
        self._rate = rate_limit
        self._allowance: dict[int, tuple[float, float]] = {}

    async def admit(self, request: web.Request) -> Caller:
        """Return the caller of a request. Raises Problem: 401, 403 or 429."""
        token_digest = digest(_token(request))
        caller = self._known.get(token_digest)
        if caller is None:
            caller = await self._database.run(find_caller, token_digest)
            if caller is None:
                raise unauthenticated()
            if self._listening and len(self._known) < REMEMBERED:
                self._known[token_digest] = caller
        if request.headers.getall("X-Organization-Id", []) != [str(caller.organization_id)]:
            raise access_denied()
        self._spend(caller.organization_id)
        return caller

    def _spend(self, organization_id: int) -> None:
        # A bucket of tokens a second's worth deep, refilled as time passes.
        if not self._rate:
            return
        now = asyncio.get_running_loop().time()
        left, since = self._allowance.get(organization_id, (float(self._rate), now))
        left = min(float(self._rate), left + (now - since) * self._rate)
        if left < 1:
            self._allowance[organization_id] = (left, now)
            raise too_many_requests(retry_after_s=1)
        self._allowance[organization_id] = (left - 1, now)

    def _forget(self, *_: object) -> None:
        self._known.clear()

    async def listen(self, settings: Settings) -> None:
        """Hear of changes to tokens for ever; while deaf, remember nothing."""
        told = ""
        while True:
            closed = asyncio.Event()
            try:
                connection = await asyncpg.connect(
                    settings.database_url.get_secret_value(),
                    timeout=2,
                    server_settings={**SERVER_SETTINGS, "application_name": "attachments-tokens"},
                )
            except Exception as error:  # whatever it is, revoked tokens have to be heard of again
                if told != type(error).__name__:  # once, not with every second that it is away
                    told = type(error).__name__
                    log.warning("cannot listen for tokens", error=told)
                await asyncio.sleep(LISTEN_AGAIN_S)
                continue
            try:
                connection.add_termination_listener(lambda *_, closed=closed: closed.set())
                await connection.add_listener(CHANNEL, self._forget)
                self._forget()
                self._listening = True
                told = ""
                await closed.wait()
            except Exception as error:
                log.warning("cannot listen for tokens", error=type(error).__name__)
            finally:
                self._listening = False
                self._forget()
                connection.terminate()
            await asyncio.sleep(LISTEN_AGAIN_S)


def _token(request: web.Request) -> str:
    given = request.headers.getall("X-Auth-Token", [])
    bearers = request.headers.getall("Authorization", [])
    if not given and len(bearers) == 1:
        scheme, _, rest = bearers[0].partition(" ")
        if scheme.lower() == "bearer":
            given = [rest.strip()]
    elif bearers and given:
        # Two credentials that may differ would leave it to us which one counts.
        given = given if all(bearer[7:].strip() in given for bearer in bearers) else []
    if len(given) != 1 or not given[0] or not given[0].isascii():
        raise unauthenticated()
    return given[0]


class EventsGate:
    """Tells whether a store's request carries one of the live events tokens, in constant time."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [digest(token.get_secret_value()) for token in settings.events_tokens]

    def admits(self, *candidates: str | None) -> bool:
        """Whether one of the candidates is a live token."""
        found = False
        for candidate in candidates:
            given = digest(candidate or "")
            for live in self._digests:
                found |= secrets.compare_digest(given, live)
        return found


@asynccontextmanager
async def open_gate(database: Database, settings: Settings) -> AsyncIterator[Gate]:
    """Make the gate, and listen for changes to tokens while it is in use."""
    gate = Gate(database, settings.rate_limit)
    listener = asyncio.create_task(gate.listen(settings))
    try:
        yield gate
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
