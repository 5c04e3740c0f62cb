"""The command line as a process beside a service under test."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import Service

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()


async def command(service: Service, *arguments: str, **overrides: str) -> Ended:
    """Run `attachments …` with a service's settings; overrides are settings by lower-case name."""
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.cli", *arguments,
        env={"PATH": os.environ["PATH"], **service.environment, **changes},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Ended(status=process.returncode, raw=out, err=err.decode())
