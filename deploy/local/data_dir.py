"""The directory of a stack on one machine: who uses it, and what stays the same over restarts."""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.private_files import read_private, write_private
from deploy.processes.supervisor import StartFailed

KEPT = "secrets.json"
ENVIRONMENT = "environment.json"
READY = "ready.json"


@dataclass(kw_only=True)
class Kept:
    """The secrets and ports that a stack was started with first."""

    postgres_password: str = field(default_factory=secrets.token_hex, repr=False)
    valkey_password: str = field(default_factory=secrets.token_hex, repr=False)
    s3_access_key_id: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    s3_secret_access_key: str = field(default_factory=secrets.token_urlsafe, repr=False)
    files_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    events_token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    token: str = field(default_factory=secrets.token_hex, repr=False)
    ports: dict[str, int] = field(default_factory=dict)


def read_kept(directory: Path) -> Kept:
    """Read what a data directory keeps, or make it up.

    Raises StartFailed if it is damaged, OSError if it cannot be read or is another user's.
    """
    try:
        return Kept(**json.loads(read_private(directory / KEPT)))
    except FileNotFoundError:
        return Kept()
    except (ValueError, TypeError):
        raise StartFailed(
            f"{directory / KEPT} is damaged; repair it or choose another --data-dir"
        ) from None


def write_kept(directory: Path, kept: Kept) -> None:
    """Write what a data directory keeps."""
    write_private(directory / KEPT, json.dumps(asdict(kept), indent=2))


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Make the directory, and hold it for this process alone. Raises StartFailed, OSError."""
    # Root's PostgreSQL runs as another user, who has to pass through.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    directory.mkdir(parents=True, exist_ok=True, mode=mode)
    _shut(directory)
    with open(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(f"another `attachments up` runs in {directory}") from None
        yield


def _shut(directory: Path) -> None:
    """See that no other user may write in a directory, or left anything in it. Raises StartFailed.

    Else that user could choose the keys of the stack, or put a folder in the place of its data.
    """
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise StartFailed(f"{directory} belongs to another user: choose another --data-dir")
    if not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    directory.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    for path in directory.iterdir():
        if path.lstat().st_uid != os.geteuid():
            raise StartFailed(f"{path} belongs to another user, who could write there: remove it")


def local_environment(directory: Path) -> dict[str, str] | None:
    """Give the settings and credentials of the stack that was started in a data directory.

    With them come ATTACHMENTS_TOKEN and ATTACHMENTS_ORGANIZATION_ID, for clients. None if there
    was none, or it belongs to another user.
    """
    try:
        found = json.loads(read_private(directory / ENVIRONMENT))
    except (OSError, ValueError):
        return None
    return {str(name): str(value) for name, value in found.items()}
