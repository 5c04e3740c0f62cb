"""A process is not alive if its event loop runs but its periodic work does not."""

from typing import Any

import pytest

from tests.support.faults import SOON, changed
from tests.support.health import asked
from tests.support.proxy import running_proxy
from tests.support.service import Service, until
from tests.support.service_processes import WorkerProcess
from tests.support.starting import Launch

pytestmark = pytest.mark.fault

IMPATIENT = changed("import worker.runtime\nworker.runtime.SWEEP_SILENT_S = 1", "worker")
"""The program of a worker that counts as stuck if its sweep is one second late."""


async def test_a_worker_whose_sweep_does_not_run_is_stuck_until_it_runs(
    service: Service, launch: Launch, database_url: str
) -> None:
    async with running_proxy(database_url) as database:
        worker = await launch(
            WorkerProcess(service.environment, program=IMPATIENT, database_url=database.url, **SOON)
        )

        async def is_stuck() -> Any:
            status, document = await asked(worker, "live")
            return document if status == 503 else None

        async def is_alive() -> bool:
            return await asked(worker, "live") == (200, {"status": "alive"})

        await until(is_alive)
        database.hold()  # from now on, the sweep's statement gets no answer
        stuck = await until(is_stuck, within_s=30)
        assert stuck["status"] == "stuck"
        assert stuck["faults"].keys() == {"sweep"}
        database.let_go()
        await until(is_alive, within_s=30)
