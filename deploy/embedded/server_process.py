"""The base class of the three embedded servers."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from deploy.processes.supervisor import Child, StartFailed

START_S = 30.0


@dataclass(kw_only=True)
class Server:
    """A server in its own directory.

    Its output goes to `log` or, if `log` is None, to a file in the directory.
    """

    name: str = field(init=False)
    directory: Path
    log: Path | None = None
    child: Child | None = None

    @property
    def log_file(self) -> Path:
        """The file for the server's output."""
        return self.log or self.directory / f"{self.name}.log"

    async def start(self) -> None:
        """Run the server and wait until it answers. Raises StartFailed."""
        raise NotImplementedError

    async def stop(self, grace_s: float = 3.0) -> None:
        """Stop the server; kill it if it still runs after `grace_s` seconds."""
        if self.child is not None:
            await self.child.stop(grace_s)

    def kill(self) -> None:
        """Kill the server; it ends as in a crash."""
        if self.child is not None:
            self.child.kill()


def environment(home: Path) -> dict[str, str]:
    """Return a minimal environment for a server.

    The operator's variables are left out: PGPORT or AWS_ACCESS_KEY_ID, for example, would change
    what the server does.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C"}


def missing(server: str, setting: str) -> StartFailed:
    """Return the error for a server that is not installed, with what the operator can do."""
    return StartFailed(
        f"{server} is not installed: make install installs it if this platform has it; "
        f"set {setting} to use one that runs elsewhere"
    )
