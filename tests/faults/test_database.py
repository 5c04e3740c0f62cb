"""Faults of PostgreSQL: connections ended, the server killed or silent, tables locked."""

import asyncio

import pytest

from shared.storage import Storage
from tests.conftest import StartWorker
from tests.faults.rows import PHOTO, SOON, is_whole, make_due, reaches
from tests.service import Service

pytestmark = pytest.mark.fault


async def test_f18_a_worker_outlives_its_connections_to_the_database(
    service: Service, start_worker: StartWorker, storage: Storage
) -> None:
    ids = await asyncio.gather(*(service.client.upload(PHOTO, "img.jpg") for _ in range(20)))
    worker = await start_worker(service, lease="2", **SOON)
    for _ in range(20):
        await service.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'attachments'"
        )
        await asyncio.sleep(0.02)
    for attachment_id in ids:
        await make_due(service, attachment_id)
        await reaches(service, attachment_id, "ready")
        await is_whole(service, storage, attachment_id, PHOTO)
    assert worker.process is not None
    assert worker.process.poll() is None
