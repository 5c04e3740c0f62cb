"""Faults that the soak test injects: their start, their end, and the number of killed processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil  # type: ignore[import-untyped]  # it ships none
import pytest
import pytest_asyncio

from deploy.processes.supervisor import Child, Program
from tests.soak.chaos import Chaos
from tests.soak.plan import Fault
from tests.soak.restarted import Kept
from tests.soak.soak_site import Site

pytestmark = pytest.mark.soak


class Sleeper:
    """A part of the soak's site whose process only sleeps. Tests inject faults into this part."""

    name = "valkey"

    def __init__(self, directory: Path) -> None:
        self.child: Child | None = None
        self._directory = directory

    async def start(self) -> None:
        """Start the sleeping process."""
        argv = (sys.executable, "-c", "import time; time.sleep(600)")
        self.child = Child(
            Program(
                name=self.name,
                argv=argv,
                env={},
                cwd=self._directory,
                log=self._directory / "log",
            )
        )

    async def stop(self, grace_s: float) -> None:
        """Stop the sleeping process within `grace_s` seconds."""
        if self.child is not None:
            await self.child.stop(grace_s)


@pytest_asyncio.fixture
async def sleeper(tmp_path: Path) -> AsyncIterator[Kept]:
    """Start a process into which a test injects faults."""
    kept = Kept(Sleeper(tmp_path))
    await kept.start()
    yield kept
    await kept.stop(0)


def chaos(part: Kept, *faults: Fault) -> Chaos:
    """Return an object that injects these faults into a site with only this part."""
    return Chaos(cast(Site, SimpleNamespace(kept={part.name: part}, workers=[])), faults)


async def test_a_freeze_ends_even_if_it_is_the_last_fault(sleeper: Kept) -> None:
    faults = chaos(sleeper, Fault(at=0, kind="freeze valkey", lasts_s=0.2))

    await faults.run(lambda: 1.0, asyncio.Event())

    assert sleeper.child is not None
    assert psutil.Process(sleeper.child.pid).status() != psutil.STATUS_STOPPED
    assert faults.done == {"freeze valkey": 1}


async def test_an_end_counts_as_unasked_unless_the_soak_killed(sleeper: Kept) -> None:
    assert sleeper.child is not None
    await chaos(sleeper, Fault(at=0, kind="kill valkey")).run(lambda: 1.0, asyncio.Event())
    await sleeper.child.wait()
    await sleeper.start()
    assert sleeper.unasked == []

    os.kill(sleeper.child.pid, signal.SIGKILL)
    await sleeper.child.wait()
    await sleeper.start()
    assert sleeper.unasked == ["valkey ended with status -9"]


async def test_faults_whose_time_has_come_are_injected_though_it_is_over(sleeper: Kept) -> None:
    over = asyncio.Event()
    over.set()
    faults = chaos(sleeper, Fault(at=0.5, kind="kill valkey"), Fault(at=0.9, kind="kill valkey"))

    await faults.run(lambda: 0.7, over)

    assert faults.done == {"kill valkey": 1}
    assert faults.left_out == {"kill valkey": 1}


async def test_faults_whose_time_does_not_come_are_left_out(sleeper: Kept) -> None:
    over = asyncio.Event()
    over.set()
    faults = chaos(sleeper, Fault(at=0.5, kind="kill valkey"))

    await faults.run(lambda: 0.0, over)

    assert sleeper.alive
    assert faults.left_out == {"kill valkey": 1}
