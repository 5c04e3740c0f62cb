"""Folders in memory for servers of the tests, whose data is not needed after the run.

A copy of a database on a disk costs PostgreSQL about ten times as much CPU time as a copy in
memory. A run of all tests makes more than a thousand copies.
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
"""How many bytes of memory must be free.

A server of the tests needs less than a quarter of this. The database with a million rows needs
half.
"""


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """Make a folder in memory, and delete it at the end.

    Yield the folder `otherwise` if too little memory is free.

    Folders of runs that were killed are deleted first.
    """
    if not os.access(MEMORY, os.W_OK) or _free() < ENOUGH:
        yield otherwise
        return
    with _locked(MEMORY / f"{PREFIX}lock"):
        _delete_left()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=MEMORY))
        held = os.open(folder, os.O_RDONLY)
        # The kernel releases this lock when the process ends.
        fcntl.flock(held, fcntl.LOCK_EX)
    # If the tests run as root, PostgreSQL runs as another user, who must read the folder.
    folder.chmod(0o755)
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
        with suppress(BlockingIOError):  # another run still uses this folder
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
