"""Folders in memory, for servers whose data no test needs after the run.

On a disk, a copy of a database costs PostgreSQL about ten times the CPU time that it costs in
memory, and a run of all tests makes more than a thousand copies.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
PREFIX = f"attachments-tests-{os.geteuid()}-"
SUFFIX = "-folder"

ENOUGH = 2 * 1024**3
"""The bytes that must be free in memory. A server of the tests needs less than a quarter of that;
the million rows of the query plans need half."""


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """Make a folder in memory and delete it at the end; use `otherwise` if memory has no room.

    Folders that killed runs have left are deleted first.
    """
    if not os.access(MEMORY, os.W_OK) or _free() < ENOUGH:
        yield otherwise
        return
    with _locked(MEMORY / f"{PREFIX}lock"):
        _delete_left()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=MEMORY))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)  # The lock ends with this process, however it ends.
    folder.chmod(0o755)  # PostgreSQL runs as another user if the tests run as root.
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(held)


def _free() -> int:
    room = os.statvfs(MEMORY)
    return room.f_bavail * room.f_frsize


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _delete_left() -> None:
    for folder in MEMORY.glob(f"{PREFIX}*{SUFFIX}"):
        held = os.open(folder, os.O_RDONLY)
        with suppress(BlockingIOError):  # a run that goes on holds the lock
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
