"""Checks of the processes of a soak test: their memory is bounded, and their logs contain no
secret.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import psutil  # type: ignore[import-untyped]  # it ships none

from tests.soak.soak_site import Site
from tests.soak.verdict import GROWN, SHOWN, Finding

MIB = 1024 * 1024
MAX_WORKER_BYTES = 256 * MIB
"""The maximum memory of a worker in bytes.

Its decoders are not counted; they have their own limits.

A worker that processes 32 uploads in parallel holds about 85 MiB after some hundreds of uploads.
"""

SIGNATURE: Final = "X-Amz-Signature"


def secrets_of(environment: Mapping[str, str], tokens: Iterable[str]) -> dict[str, str]:
    """Return the secrets that no log may contain, by name.

    They are secrets from the settings, and `tokens`, which the clients use.
    """
    found = {
        name: environment[name]
        for name in (
            "ATTACHMENTS_FILES_SECRET",
            "ATTACHMENTS_EVENTS_TOKENS",
            "AWS_SECRET_ACCESS_KEY",
        )
    }
    for name in ("ATTACHMENTS_DATABASE_URL", "ATTACHMENTS_BROKER_URL"):
        password = urlsplit(environment[name]).password
        assert password is not None, f"{name} has no password to look for"
        found[f"{name}'s password"] = unquote(password)
    found |= {f"token {number} of a client": token for number, token in enumerate(tokens, 1)}
    return {**found, "a signature": SIGNATURE}


def find_leaks(lines: Iterable[bytes], secrets: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the secrets that occur in a log, in upper or lower case."""
    unseen = {name: secret.lower().encode() for name, secret in secrets.items()}
    for line in lines:
        lowered = line.lower()
        for name in [name for name, secret in unseen.items() if secret in lowered]:
            del unseen[name]
            yield name


async def look_for_leaks(site: Site) -> list[Finding]:
    """Search the logs of all APIs and workers for secrets.

    A log also holds the lines of earlier starts.
    """
    secrets = secrets_of(site.environment, (callers[0].token for callers in site.clients))
    findings = []
    for module in site.modules.values():
        findings += [
            Finding(invariant=SHOWN, about=f"{module.log.name} shows {name}")
            for name in await asyncio.to_thread(_read, module.log, secrets)
        ]
    return findings


def _read(path: Path, secrets: Mapping[str, str]) -> list[str]:
    with path.open("rb") as log:
        return list(find_leaks(log, secrets))


def held_bytes(site: Site) -> dict[str, int]:
    """Return the memory of each running worker by name, in bytes, without its decoders."""
    held = {}
    for part in site.workers:
        if part.child is not None and part.alive:
            with suppress(psutil.NoSuchProcess):
                held[part.name] = psutil.Process(part.child.pid).memory_full_info().uss
    return held


def grown(held: Mapping[str, int]) -> list[Finding]:
    """Return a finding for each worker that uses more than MAX_WORKER_BYTES."""
    return [
        Finding(invariant=GROWN, about=f"{name} holds {size // MIB} MiB")
        for name, size in held.items()
        if size > MAX_WORKER_BYTES
    ]
