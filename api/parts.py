"""The objects that all handlers share, opened once per process and stored in the application."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps

from aiohttp import web

from api.access import EventsGate, Gate
from api.clients import forwarded
from api.draining import Drain
from api.event_groups import EventGroups
from api.ids import IdCheck
from api.noise import Noise
from api.readers import Readers
from api.request_keys import GivenKey, RequestKeys
from api.sns import Sns
from api.waiters import Waiters
from api.walks import Walks
from shared.allowance import Allowance
from shared.bucket_guard import BucketGuard
from shared.database import Database
from shared.documents import Documents
from shared.hosts import names_loopback
from shared.proxies import Forwarded
from shared.publisher import Publisher
from shared.quotas import Quotas
from shared.settings import Settings
from shared.shares import Shares
from shared.storage import Storage
from shared.tokens import Caller
from shared.turns import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The open parts of one API process.

    The connections of `clients` are for the requests of organizations; each organization may use a
    share of them. Events use other connections, through `event_groups`.
    """

    settings: Settings
    health: Database
    clients: Shares
    quotas: Quotas
    walks: Walks
    readers: Readers
    copies: Turns
    lookups: Turns
    links: Turns
    storage: Storage
    publisher: Publisher
    noise: Noise
    allowance: Allowance
    gate: Gate
    waiters: Waiters
    request_keys: RequestKeys
    events_gate: EventsGate
    event_groups: EventGroups
    sns: Sns
    strangers: asyncio.Semaphore
    strange_readers: Turns
    documents: Documents
    metrics_url: str | None
    ids: IdCheck
    bucket: BucketGuard
    drain: Drain


PARTS = web.AppKey("parts", Parts)


Handler = Callable[[web.Request], Awaitable[web.Response]]
KeyedHandler = Callable[[web.Request, Parts, Caller, GivenKey | None], Awaitable[web.Response]]


async def admit(request: web.Request) -> tuple[Parts, Caller]:
    """Return the parts and the caller of a request. Raises Problem: 401, 403, 429 or 503."""
    parts = request.app[PARTS]
    return parts, await parts.gate.admit(request)


async def admit_admin(request: web.Request) -> tuple[Parts, Caller]:
    """Do the same as `admit`, but raise Problem 403 unless the token's scope is `admin`."""
    parts = request.app[PARTS]
    return parts, await parts.gate.admit_admin(request)


def with_key(
    admit_caller: Callable[[web.Request], Awaitable[tuple[Parts, Caller]]],
    *,
    reads_body: bool = True,
) -> Callable[[KeyedHandler], Handler]:
    """Make a request handler from a function that gets the caller and the Idempotency-Key.

    The function gets None as the key if the request has no key. While the function runs, no other
    request can use the key. A function that reads the body must call the key's method `note`. If it
    does not read the body, `reads_body` must be False. `admit_caller` is `admit` or `admit_admin`.

    The handler also raises the Problems of `RequestKeys.hold`: 400, 409 or 422.
    """

    def decorate(handler: KeyedHandler) -> Handler:
        @wraps(handler)
        async def keyed(request: web.Request) -> web.Response:
            parts, caller = await admit_caller(request)
            with parts.request_keys.hold(request, caller.organization_id) as key:
                if key is not None and not reads_body:
                    key.note(None)
                return await handler(request, parts, caller, key)

        return keyed

    return decorate


NOT_FORWARDED = Forwarded(address="")
"""The value that is used if no proxy is trusted. It has no scheme and no host."""


def origin(request: web.Request, settings: Settings) -> str:
    """Return the beginning of links: the API's public address, or "" for relative links.

    A client can send any Host header. So Host is used only if the settings allow it, or if it is a
    loopback name and the API listens only on loopback. A trusted proxy may report another scheme
    and host. These are used instead of the request's own if the settings allow that host.
    """
    if settings.api_url is not None:
        return settings.api_url
    reported = forwarded(request) if settings.proxies else NOT_FORWARDED
    # The header is read directly, because `request.host` has two faults. If the request has no
    # Host, it asks the resolver for the machine's name. If the request's target is a whole URL, it
    # is the URL's host, even if Host is another one (RFC 9112, section 3.2.2).
    host = reported.host or request.headers.get("Host", "").lower()
    if not request.raw_path.startswith("/") or not _is_ours(host, settings):
        return ""
    return f"{reported.scheme or request.scheme}://{host}"


def _is_ours(host: str, settings: Settings) -> bool:
    return host in settings.hosts or (settings.listens_on_loopback and names_loopback(host))


def now() -> datetime:
    """Return the time for links and policies. Changes of state use the database's clock instead."""
    return datetime.now(UTC)
