"""The state that the doctor's checks share, and their verdicts."""

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
    """The result of a check. A warning does not make the service unhealthy."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The finding of one check, and the remedy. `seconds` is the time that the service needed."""

    status: Status
    found: str
    mend: str | None = None
    seconds: float | None = None


def ok(found: str, *, seconds: float | None = None) -> Verdict:
    """Return a verdict that the checked part works."""
    return Verdict(status=Status.OK, found=found, seconds=seconds)


def warning(found: str, mend: str, *, seconds: float | None = None) -> Verdict:
    """Return a verdict that the checked part works with a limitation."""
    return Verdict(status=Status.WARNING, found=found, mend=mend, seconds=seconds)


def failed(found: str, mend: str) -> Verdict:
    """Return a verdict that the checked part does not work."""
    return Verdict(status=Status.FAILED, found=found, mend=mend)


def skipped(found: str) -> Verdict:
    """Return a verdict that the check did not run. `found` is the reason."""
    return Verdict(status=Status.SKIPPED, found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The attachment that the doctor created and uploaded.

    `posted_at` is the time of the upload by the database's clock. `allowed_origin` is the header
    Access-Control-Allow-Origin in the store's answer to the upload, or None.
    """

    row: Attachment
    posted_at: datetime
    allowed_origin: str | None


@dataclass(kw_only=True)
class Examination:
    """The state that all checks share. Some attributes are missing until a check has set them.

    `origin` is the origin of the pages that upload, or None if the operator gave none. `wait_s` is
    the maximum time, in seconds, to wait for the event. It is also the maximum time to wait for the
    thumbnail after that.
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
        """The API's public address; if it is not set, the address on which the API listens."""
        host = reached_at(self.settings.api_host)
        return self.settings.api_url or f"http://{host}:{self.settings.api_port}"

    @property
    def store_url(self) -> str:
        """The bucket's address that the service uses. Clients use `settings.upload_url`."""
        return self.settings.store.url

    def works(self, name: str) -> bool:
        """Return True if the check with this name has run and has not failed."""
        verdict = self.verdicts.get(name)
        return verdict is not None and verdict.status in (Status.OK, Status.WARNING)
