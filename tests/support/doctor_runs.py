"""Functions that run `attachments doctor` as a process and find the data that it leaves."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

from shared import keys, probes
from tests.support.databases import ids_beside
from tests.support.doctor import assert_no_secret
from tests.support.forked import run_module
from tests.support.local import bare_environment
from tests.support.objects import exists, opened_storage
from tests.support.service import Service, until

COMMAND_TIMEOUT_S = 120


async def start_doctor(variables: Mapping[str, str], *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli",
        "doctor",
        *options,
        env={**bare_environment(), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_doctor(variables: Mapping[str, str], *options: str) -> tuple[int, str]:
    """Run the command, and return its exit status and its standard output."""
    status, out, err = await asyncio.to_thread(
        run_module,
        ("-m", "deploy.cli", "doctor", *options),
        {"PATH": os.environ["PATH"], **variables},
        timeout_s=COMMAND_TIMEOUT_S,
    )
    assert err == b""
    assert_no_secret(out.decode(), variables)
    return status, out.decode()


async def leftovers(service: Service) -> list[str]:
    """List the rows, arrivals and probe objects that runs of the doctor have left.

    Objects with ids of other tests are left out, because all tests share one bucket.
    """
    first = await service.database.fetchval("SELECT last_value FROM attachments_id_seq")
    ids = ids_beside(first)
    rows = await service.database.fetch(
        "SELECT 'row ' || id FROM attachments WHERE organization_id = $1"
        " UNION ALL SELECT 'arrival ' || id FROM probe_arrivals",
        probes.ORGANIZATION,
    )
    left = [str(row[0]) for row in rows]
    async with opened_storage(service.stack) as storage:
        for key in {event["key"] for event in service.stack.relay.seen}:
            _, found, path = key.partition(f"/{keys.PREFIX}")
            parsed = keys.parse_key(f"{keys.PREFIX}{path}") if found else None
            if parsed is not None and parsed[0] in ids and path.endswith(f"/{probes.NAME}"):
                left += [path] if await exists(storage, f"{keys.PREFIX}{path}") else []
    return left


async def probe_of(service: Service) -> int:
    """Wait until a doctor has created its probe attachment, and return the attachment's id."""

    async def found() -> Any:
        return await service.database.fetchval(
            "SELECT id FROM attachments WHERE organization_id = $1", probes.ORGANIZATION
        )

    return int(await until(found, within_s=30))


async def event_awaited(service: Service) -> None:
    """Wait until a running doctor asks the database whether the probe's event has arrived."""

    async def asked() -> Any:
        return await service.database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'SELECT source, dialect%'"
        )

    await until(asked, within_s=30)
