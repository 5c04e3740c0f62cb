"""A local stack that `attachments up` runs, and functions that run commands with this stack."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forked import run_module

ROOT = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 90
Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A running local stack. Its methods run commands that use this stack."""

    data_dir: Path
    ready: dict[str, Any]

    def run_bare(self, *arguments: str | Path, **variables: str) -> Ended:
        """Run a command; only `variables` and PATH are in its environment."""
        status, out, err = run_module(
            ("-m", "deploy.cli", *map(str, arguments)),
            {"PATH": os.environ["PATH"], **variables},
            timeout_s=COMMAND_TIMEOUT_S,
            folder=self.data_dir.parent,
        )
        return Ended(arguments, status, out.decode(), err.decode())

    def run(self, *arguments: str | Path, **variables: str) -> Ended:
        """Run a command that finds the stack through the option --data-dir."""
        return self.run_bare(*arguments, "--data-dir", self.data_dir, **variables)


def bare_environment() -> dict[str, str]:
    """Return this process's environment without the variables of the service and of AWS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ATTACHMENTS_", "AWS_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT)}
