"""What the handlers share, opened once a process and found under one key of the application."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from api.access import EventsGate, Gate
from api.documents import Documents
from api.sns import Sns
from api.tokens import Caller
from shared.broker import Publisher
from shared.database import Database
from shared.settings import Settings
from shared.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The open parts of one API process."""

    settings: Settings
    database: Database
    storage: Storage
    publisher: Publisher
    gate: Gate
    events_gate: EventsGate
    sns: Sns
    strangers: asyncio.Semaphore
    documents: Documents
    metrics_url: str | None


PARTS = web.AppKey("parts", Parts)


async def admit(request: web.Request) -> tuple[Parts, Caller]:
    """Return the parts and the caller of a request. Raises Problem: 401, 403 or 429."""
    parts = request.app[PARTS]
    return parts, await parts.gate.admit(request)


def origin(request: web.Request, settings: Settings) -> str:
    """Give the API's public address: as set, else as the request names it."""
    return settings.api_url or f"{request.scheme}://{request.host}"


def now() -> datetime:
    """Give the time, for links and policies; what is decided by time, the database decides."""
    return datetime.now(UTC)
