"""Check that the scanner finds malware, and what it answers for files that exceed its limits."""

from collections.abc import AsyncIterator

from deploy.doctor.eicar import EICAR, MAX_DEPTH, MIN_SIZE, large, nested
from deploy.doctor.examination import Examination, Verdict, failed, ok, warning
from shared.errors import ScannerUnavailable
from worker.scanning.clamd import Clamd

ALERT = "set AlertExceedsMax yes in clamd.conf, and restart clamd"
RAISE = (
    "raise StreamMaxLength, MaxFileSize and MaxScanSize in clamd.conf, or lower"
    " ATTACHMENTS_SCAN_MAX_SIZE"
)


async def check_scanner(examination: Examination) -> Verdict:
    """Scan EICAR alone, in an archive of the maximum size, and in deeply nested archives."""
    settings = examination.settings
    if settings.clamd is None:
        return ok("uploads are not scanned: ATTACHMENTS_CLAMD_URL is not set")
    clamd = Clamd(settings.clamd, timeout_s=settings.scan_timeout)
    size = max(settings.scan_max_size, MIN_SIZE)
    try:
        small = await clamd.scan(_whole(EICAR))
        if small.verdict != "infected":
            return failed(
                f"{settings.clamd} calls the EICAR test file {small.verdict}",
                "load ClamAV's signatures by freshclam, and check DatabaseDirectory in clamd.conf",
            )
        longest = await clamd.scan(large(size))
        deep = await clamd.scan(_whole(nested(MAX_DEPTH)))
    except ScannerUnavailable as error:
        return failed(
            f"{settings.clamd}: {error}",
            "start clamd, and check ATTACHMENTS_CLAMD_URL, TCPSocket or LocalSocket in clamd.conf,"
            " and firewalls; no upload becomes ready without it, unless scanning is optional",
        )
    if longest.verdict == "clean":
        return failed(
            f"{settings.clamd} calls an archive of {size} bytes clean that has EICAR at its end:"
            " its limits are lower, and it does not report that",
            f"{RAISE}; {ALERT}",
        )
    if longest.verdict == "unscannable":
        return warning(
            f"{settings.clamd} does not scan an archive of {size} bytes"
            f" ({longest.signature or 'StreamMaxLength'}): such files are unscannable",
            RAISE,
        )
    found = f"{settings.clamd} finds EICAR ({small.signature}), also at the end of {size} bytes"
    if deep.verdict == "clean":
        return warning(f"{found}; but calls clean what exceeds its other limits", ALERT)
    return ok(f"{found}, and reports what exceeds its other limits")


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
