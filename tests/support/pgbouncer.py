"""PgBouncer in front of a database, with its default settings.

The program is in Debian's package `pgbouncer`.
"""

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.embedded.ports import choose_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is missing: install the package pgbouncer"
)

CONFIG = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = {mode}
logfile = {folder}/log
{more}
"""


class PgBouncer:
    """A running PgBouncer."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._port = port

    def url(self, database_url: str) -> str:
        """Return the address at which PgBouncer serves the database of `database_url`."""
        parts = urlsplit(database_url)
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{user}@127.0.0.1:{self._port}").geturl()

    def log(self) -> str:
        """Return everything that PgBouncer has logged so far."""
        return (self.folder / "log").read_text()


@asynccontextmanager
async def running_pgbouncer(
    folder: Path, database_url: str, *, mode: str, more: str = ""
) -> AsyncIterator[PgBouncer]:
    """Run PgBouncer for the server of a database address; `more` is further lines for its
    configuration file.
    """
    assert PROGRAM is not None
    parts = urlsplit(database_url)
    port = choose_port()
    (folder / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
    (folder / "ini").write_text(
        CONFIG.format(
            host=parts.hostname,
            server_port=parts.port,
            port=port,
            folder=folder,
            mode=mode,
            more=more,
        )
    )
    (folder / "log").touch()
    argv = [PROGRAM, "-q", str(folder / "ini")]
    if os.geteuid() == 0:
        _hand_over(folder)
        argv[1:1] = ["-u", "nobody"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=folder)
    bouncer = PgBouncer(folder, port)
    try:
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert process.returncode is None, bouncer.log()
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        else:
            raise AssertionError(bouncer.log())
        yield bouncer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _hand_over(folder: Path) -> None:
    """Give a folder to the user `nobody`, because PgBouncer does not run as root."""
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
