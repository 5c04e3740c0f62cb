"""Check that decoders can be sealed (sandboxed) on this machine."""

import asyncio
from ipaddress import ip_address
from urllib.parse import urlsplit

from deploy.doctor.examination import Examination, Verdict, failed, ok, skipped, warning
from worker.sandbox.sealing import find_obstacle


async def check_seal(examination: Examination) -> Verdict:
    """Check whether a decoder can be sealed here, if workers run on this machine.

    The doctor cannot find out where workers run. If the broker's address is a loopback address,
    they must be on this machine. Otherwise they may be elsewhere, and the check is skipped.
    """
    settings = examination.settings
    if not _is_here(settings.broker_url.get_secret_value()):
        return skipped(
            "workers may run on other machines; one that cannot seal its decoders logs it at start"
        )
    obstacle = await asyncio.to_thread(find_obstacle)
    if obstacle is None:
        return ok("decoders can be sealed on this machine")
    found, _, mend = obstacle.partition(": ")
    found = f"decoders cannot be sealed on this machine: {found}"
    if settings.decoder_seal == "required":
        return failed(f"{found}, so workers do not start here", mend or "run workers on Linux")
    return warning(found, mend or "run workers on Linux")


def _is_here(address: str) -> bool:
    """Return True if an address can only be on this machine: a Unix socket or a loopback host."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "unix" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
