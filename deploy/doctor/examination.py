"""What checks share, and what they answer: a verdict each."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import aiohttp

from shared.attachments import Attachment
from shared.database import Database
from shared.listening import reached_at
from shared.settings import Settings
from shared.storage import Storage


class Status(StrEnum):
    """How a check ended. A warning does not make the service unhealthy."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found, and how to mend it; `seconds` is how long it took the service."""

    status: Status
    found: str
    mend: str | None = None
    seconds: float | None = None


def ok(found: str, *, seconds: float | None = None) -> Verdict:
    """Say that all is well."""
    return Verdict(status=Status.OK, found=found, seconds=seconds)


def warning(found: str, mend: str, *, seconds: float | None = None) -> Verdict:
    """Say that it works, but not as it should."""
    return Verdict(status=Status.WARNING, found=found, mend=mend, seconds=seconds)


def failed(found: str, mend: str) -> Verdict:
    """Say that it does not work."""
    return Verdict(status=Status.FAILED, found=found, mend=mend)


def skipped(found: str) -> Verdict:
    """Say why it could not be told."""
    return Verdict(status=Status.SKIPPED, found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The attachment that the doctor created; `posted_at` is by the database's clock.

    `allowed_origin` is whom the store's answer to the upload may be read by, or None.
    """

    row: Attachment
    posted_at: datetime
    allowed_origin: str | None


@dataclass(kw_only=True)
class Examination:
    """What the checks work with. Parts that an earlier check opens are not set before it.

    `origin` is where browsers upload from, None where the operator did not say. `wait_s` is how
    long to wait for the event, and for the thumbnail.
    """

    settings: Settings
    origin: str | None
    wait_s: float
    http: aiohttp.ClientSession
    exits: AsyncExitStack
    content: bytes = field(repr=False)
    database: Database = field(init=False, repr=False)
    storage: Storage = field(init=False, repr=False)
    broker: dict[str, str] = field(init=False, repr=False)
    created: Attachment | None = None
    probe: Probe = field(init=False, repr=False)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """The API's address: its public one, else where it listens."""
        host = reached_at(self.settings.api_host)
        return self.settings.api_url or f"http://{host}:{self.settings.api_port}"

    @property
    def store_url(self) -> str:
        """Where the service reaches the bucket; `settings.upload_url` is where clients do."""
        return self.settings.store.url

    def works(self, name: str) -> bool:
        """Whether a check has been made and did not fail."""
        verdict = self.verdicts.get(name)
        return verdict is not None and verdict.status in (Status.OK, Status.WARNING)
