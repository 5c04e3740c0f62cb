"""Authentication: clients send an API token, and stores that post events send an events token."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from api.callers import Tokens, TooManyLookUps
from api.clients import client_address, source_of
from api.database_listener import Listener
from api.limit_shares import LimitShares
from api.noise import CALLER, NOISE
from api.problems import access_denied, unauthenticated, unavailable
from api.rate_limit import RateLimit
from api.token_use import TokenUse
from api.waiters import Waiters
from shared.database import Database
from shared.deployment import learn_prefix
from shared.log_fields import add_fields
from shared.settings import Settings
from shared.settling import CHANNEL
from shared.shares import share_of_others, split_pool
from shared.tokens import SCOPES, Caller, Scope, digest

READING = frozenset({"GET", "HEAD"})


class Gate:
    """Finds the caller of a request by its token, and limits each organization's request rate."""

    def __init__(self, tokens: Tokens, rate_limit: RateLimit) -> None:
        self._tokens = tokens
        self._rate_limit = rate_limit

    async def admit(self, request: web.Request) -> Caller:
        """Return the caller of a request, after a check that the token's scope allows the method.

        Raises Problem: 401 for an unknown token, 403 for a wrong organization or an insufficient
        scope, 429 above the rate of the organization or the token, 503 while too many unknown
        tokens are looked up.
        """
        caller = await self._find(request, _token(request))
        if caller is None:
            raise unauthenticated("unknown token")
        request[CALLER] = caller
        add_fields(organization=caller.organization_id)
        if request.headers.getall("X-Organization-Id", []) != [str(caller.organization_id)]:
            raise access_denied(reason="wrong organization")
        if not covers(caller.scope, "read" if request.method in READING else "write"):
            raise access_denied(reason="outside the scope")
        self._rate_limit.spend(request, caller)
        return caller

    async def admit_admin(self, request: web.Request) -> Caller:
        """Return the caller of a request like `admit`. The token must have the scope `admin`.

        Raises the same Problems as `admit`, and 403 for any other scope.
        """
        caller = await self.admit(request)
        if not covers(caller.scope, "admin"):
            raise access_denied(reason="outside the scope")
        return caller

    async def admit_reader(self, request: web.Request, token: str) -> Caller | None:
        """Return the caller of a token in a file's address, or None if the token may not read.

        Raises Problem: 429 above the organization's rate, 503 while too many unknown tokens are
        looked up.
        """
        caller = await self._find(request, token) if token.isascii() else None
        if caller is None or not covers(caller.scope, "read"):
            return None
        add_fields(organization=caller.organization_id)
        self._rate_limit.spend(request, caller)
        return caller

    async def _find(self, request: web.Request, token: str) -> Caller | None:
        try:
            return await self._tokens.find(
                digest(token), source=lambda: source_of(client_address(request))
            )
        except TooManyLookUps:
            address = client_address(request)
            request[NOISE].info.log("too many unknown tokens", source_of(address), address=address)
            raise unavailable() from None


def covers(scope: Scope, needed: Scope) -> bool:
    """Return True if the scope of a token includes `needed`. An unknown scope includes nothing."""
    return scope in SCOPES and SCOPES.index(scope) >= SCOPES.index(needed)


def _token(request: web.Request) -> str:
    """Return the token of a request. Raises Problem 401 if there is none, or more than one.

    Credentials of other schemes are ignored, because HTTP libraries add them on their own, such as
    Basic from a netrc file.
    """
    given = request.headers.getall("X-Auth-Token", [])
    credentials = request.headers.getall("Authorization", [])
    if credentials:
        bearers = [token for each in credentials if (token := _bearer(each)) is not None]
        # With two different tokens, it would be unclear which one to use.
        if len(bearers) > 1 or (given and bearers and given != bearers):
            raise unauthenticated("unreadable token")
        given = given or bearers
    if len(given) != 1 or not given[0] or not given[0].isascii():
        raise unauthenticated("unreadable token" if given or credentials else "no token")
    return given[0]


def _bearer(credentials: str) -> str | None:
    scheme, _, token = credentials.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class EventsGate:
    """Checks in constant time if a store's request has one of the valid events tokens."""

    def __init__(self, settings: Settings) -> None:
        self._digests = [digest(token.get_secret_value()) for token in settings.events_tokens]

    def admits(self, *candidates: str | None) -> int | None:
        """Return the position of the valid token among `candidates`; None if none is valid.

        It is the position of the events token in the settings, counted from 1.
        """
        found = None
        for candidate in candidates:
            given = digest(candidate or "")
            for number, live in enumerate(self._digests, 1):
                if secrets.compare_digest(given, live):
                    found = number
        return found


@asynccontextmanager
async def open_gate(
    database: Database, settings: Settings, waiters: Waiters
) -> AsyncIterator[Gate]:
    """Open the gate. Until the end of the block, listen for changes of tokens and record their use.

    One database connection receives the notifications about tokens. It also receives the
    notifications about settled attachments, which are for `waiters`.
    """
    use = TokenUse(database)
    # Look-ups of unknown tokens may use all connections but one. The last one is for known tokens.
    strangers = max(1, share_of_others(split_pool(settings.database_pool)[1]) - 1)
    tokens = Tokens(database, on_use=use.note, strangers=strangers)
    listener = Listener(
        settings, database, tokens.forget, also={CHANNEL: waiters.notice}, on_gap=waiters.doubt
    )
    waiters.hears = lambda: listener.hears
    limits = RateLimit(settings.rate_limit)
    shares = LimitShares(
        limits, settings.broker_url.get_secret_value(), partial(learn_prefix, database, settings)
    )
    works = (listener.run, use.run, waiters.run, shares.run)
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield Gate(tokens, limits)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await use.write_rest()
