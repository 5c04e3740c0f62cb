"""What the three servers have in common."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from deploy.processes.supervisor import Child, StartFailed

START_S = 30.0


@dataclass(kw_only=True)
class Server:
    """A server in a directory of its own; what it writes goes to `log`, or to a file therein."""

    name: str = field(init=False)
    directory: Path
    log: Path | None = None
    child: Child | None = None

    @property
    def log_file(self) -> Path:
        """Where the server's own lines go."""
        return self.log or self.directory / f"{self.name}.log"

    async def start(self) -> None:
        """Run the server and wait until it answers. Raises StartFailed."""
        raise NotImplementedError

    async def stop(self, grace_s: float = 3.0) -> None:
        """Stop the server, and kill it if that takes longer."""
        if self.child is not None:
            await self.child.stop(grace_s)

    def kill(self) -> None:
        """Kill the server as a crash would."""
        if self.child is not None:
            self.child.kill()


def environment(home: Path) -> dict[str, str]:
    """Give a server nothing of the operator's: PGPORT or AWS_ACCESS_KEY_ID would change it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C"}


def missing(server: str, setting: str) -> StartFailed:
    """Say that a server is not installed, and what to do without it."""
    return StartFailed(
        f"no {server} here: make install sets one up where there is one for this platform; "
        f"set {setting} to use one that runs elsewhere"
    )
