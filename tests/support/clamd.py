"""A real clamd that knows only two signatures: one for the EICAR test file and one for MARKER.

The program is in Debian's package `clamav-daemon`. freshclam and ClamAV's own signatures are not
used.
"""

import asyncio
import hashlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.doctor.eicar import EICAR
from deploy.embedded.ports import choose_port
from tests.support.service import until

PROGRAM = shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

MARKER = b"THE-MARKER-OF-A-TEST-FILE"
"""Bytes that clamd reports as malware, at any position in a file."""

EICAR_NAME = "Test.Eicar.UNOFFICIAL"
MARKER_NAME = "Test.Marker.UNOFFICIAL"
"""The names that clamd reports for the two signatures.

clamd adds `.UNOFFICIAL` to the name of a signature that is not ClamAV's own.
"""

START_S = 30

CONFIG = """\
Foreground yes
User {user}
TCPAddr 127.0.0.1
TCPSocket {port}
LocalSocket {folder}/socket
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}
{more}
"""


def need_clamd() -> None:
    """Skip the calling test module if clamd is not installed.

    pytest reports all these modules in one line.
    """
    if PROGRAM is None:
        pytest.skip("clamd is missing: install the package clamav-daemon", allow_module_level=True)


class ClamdProcess:
    """A running clamd. `url` is its TCP address, `socket_url` its Unix socket."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"tcp://127.0.0.1:{port}"
        self.socket_url = f"unix://{folder}/socket"
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, limits: Mapping[str, str] | None = None, *, eicar: bool = True) -> None:
        """Start clamd and wait until it listens; `limits` are settings of clamd.conf.

        If `eicar` is false, clamd does not know the EICAR test file.
        """
        assert PROGRAM is not None
        signatures = self.folder / "signatures"
        signatures.mkdir(exist_ok=True)
        digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
        known = digest if eicar else "0" * len(digest)
        (signatures / "eicar.hdb").write_text(f"{known}:{len(EICAR)}:Test.Eicar\n")
        (signatures / "marker.ndb").write_text(f"Test.Marker:0:*:{MARKER.hex()}\n")
        config = self.folder / "clamd.conf"
        config.write_text(
            CONFIG.format(
                user="root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
                port=self._port,
                folder=self.folder,
                more="\n".join(f"{name} {value}" for name, value in (limits or {}).items()),
            )
        )
        log = self.folder / "log"
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM, "--config-file", str(config), stdout=out, stderr=out
            )

        async def listens() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, log.read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                return False
            writer.close()
            return (self.folder / "socket").exists()

        await until(listens, within_s=START_S)

    def freeze(self) -> None:
        """Suspend clamd; the kernel still accepts connections to its ports."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume clamd after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Kill clamd; `start` may then start it again."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running_clamd(folder: Path, **limits: str) -> AsyncIterator[ClamdProcess]:
    """Run a clamd that keeps its files in `folder`, and yield it."""
    clamd = ClamdProcess(folder, choose_port())
    try:
        await clamd.start(limits)
        yield clamd
    finally:
        await clamd.kill()
