"""Scan an upload before any of its bytes are parsed, and decide what the verdict means for it."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from prometheus_client import Counter

from shared.attachments import Attachment
from shared.errors import ObjectChanged, ObjectEmpty, ScannerUnavailable
from shared.reasons import ReasonCode, RejectedCode
from shared.settings import Settings
from shared.storage import Storage
from shared.stored_objects import StoredObject
from shared.verdicts import Scan, Verdict
from worker.scanning.clamd import Clamd
from worker.slices import Gate
from worker.stages import measured, note_object

KEPT_BYTES: Final = 1024 * 1024
"""An object of up to this many bytes stays in memory after its scan, so it is not downloaded
again."""


ScanResult = Literal[Verdict, "unavailable"]
"""A verdict, or `unavailable`: the scanner did not scan the object, and there will be another
try."""

SCANS = Counter("attachments_scans_total", "Scans of objects by their verdict", ["verdict"])
_results = {result: SCANS.labels(result) for result in get_args(ScanResult)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The object that was scanned, and the verdict.

    All later reads are pinned to `found`. If `refused` is set, no byte of the object may be parsed.
    `noted` is the reason to record if the attachment becomes `ready` although it was not scanned.
    `content` has all bytes of a small object. `checksum_sha256` is None if not all bytes were read.
    """

    found: StoredObject
    scan: Scan
    refused: RejectedCode | None = None
    noted: ReasonCode | None = None
    checksum_sha256: str | None = None
    content: bytes | None = None

    def is_of(self, found: StoredObject) -> bool:
        """Return True if `found` is the object that was scanned."""
        return (self.found.etag, self.found.version_id) == (found.etag, found.version_id)


class Scanner:
    """The scanner of a worker. It makes up to `scan_concurrency` scans at one time.

    Organizations take turns. One organization never holds all scans, so its slow scans do not delay
    the first scan of another. If `scan_concurrency` is 1, this is not possible: each scan delays
    the next one.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.clamd is not None
        self._settings = settings
        self._clamd = Clamd(settings.clamd, timeout_s=settings.scan_timeout)
        self._gate = Gate(settings.scan_concurrency, stage="scan_wait", keeps_one=True)

    async def ping(self) -> str | None:
        """Check that the scanner answers, for the worker's health. Raises ScannerUnavailable."""
        await self._clamd.ping()
        return None

    @asynccontextmanager
    async def reading(
        self, storage: Storage, row: Attachment
    ) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Wait until a scan may begin, then read the original, up to the maximum size of a scan."""
        async with self._gate.turn(row.organization_id):
            with measured("scan"):
                async with storage.read(row.key, end=self._settings.scan_max_size) as opened:
                    note_object(opened[0])
                    yield opened

    async def scan(
        self, row: Attachment, found: StoredObject, chunks: AsyncIterator[bytes]
    ) -> Scanned:
        """Scan an object that `reading` has opened; return what the verdict means for it.

        If the scanner did not scan it, raises ScannerUnavailable. But if this is the last attempt
        and scanning is optional, returns without a scan.
        """
        settings = self._settings
        if found.size > row.max_bytes(settings.max_size):
            scan = Scan(verdict=None)  # too large, so it is not downloaded
            return Scanned(found=found, scan=scan, refused="too_large")
        if found.size > settings.scan_max_size:
            return self._judged(found, Scan(verdict="unscannable"))
        digest, content, passed = hashlib.sha256(), bytearray(), 0

        async def pieces() -> AsyncGenerator[bytes, None]:
            nonlocal passed
            async for chunk in chunks:
                passed += len(chunk)
                digest.update(chunk)
                if found.size <= KEPT_BYTES:
                    content.extend(chunk)
                yield chunk

        try:
            async with aclosing(pieces()) as stream:
                scan = await self._clamd.scan(stream)
        except ScannerUnavailable:
            if not settings.scan_optional or row.attempt < settings.attempts:
                _results["unavailable"].inc()
                raise
            scan = Scan(verdict="unscanned")
        whole = passed == found.size
        return self._judged(
            found,
            scan,
            checksum_sha256=digest.hexdigest() if whole else None,
            content=bytes(content) if whole and found.size <= KEPT_BYTES else None,
        )

    def _judged(self, found: StoredObject, scan: Scan, **read: Any) -> Scanned:
        assert scan.verdict is not None
        _results[scan.verdict].inc()
        match scan.verdict:
            case "infected":
                return Scanned(found=found, scan=scan, refused="infected", **read)
            case "unscannable" if not self._settings.scan_optional:
                return Scanned(found=found, scan=scan, refused="unscannable", **read)
            case "unscannable":
                return Scanned(found=found, scan=scan, noted="unscannable", **read)
            case "unscanned":
                return Scanned(found=found, scan=scan, noted="scanner_unavailable", **read)
            case _:
                return Scanned(found=found, scan=scan, **read)


@asynccontextmanager
async def reopened(
    storage: Storage, key: str, scanned: Scanned, *, end: int
) -> AsyncIterator[tuple[StoredObject, AsyncIterator[bytes]]]:
    """Read the first bytes of a scanned object, up to `end`.

    If the object is small, all its bytes may be yielded. Raises ObjectChanged and ObjectEmpty.
    """
    if not scanned.found.size:
        raise ObjectEmpty(key)
    elif scanned.content is not None:
        yield scanned.found, _pieces_of(scanned.content)
    else:
        async with storage.read(key, end=end, pin=scanned.found) as opened:
            # Check again, because a store may ignore the pinned etag and version.
            require_scanned(scanned, opened[0])
            yield opened


def require_scanned(scanned: Scanned | None, found: StoredObject) -> None:
    """Raise ObjectChanged if another object than `found` was scanned."""
    if scanned is not None and not scanned.is_of(found):
        raise ObjectChanged("it is not the object that was scanned")


async def _pieces_of(content: bytes) -> AsyncIterator[bytes]:
    yield content


def scan_fields(scan: Scan) -> dict[str, str]:
    """Return the log fields that describe a verdict."""
    fields = {"scan": scan.verdict, "signature": scan.signature}
    return {name: value for name, value in fields.items() if value is not None}
