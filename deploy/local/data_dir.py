"""The data directory of a local stack: its lock, and the secrets and ports that it keeps."""

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
    """The secrets and ports of a stack. They are made at its first start and then kept."""

    postgres_password: str = field(default_factory=secrets.token_hex, repr=False)
    valkey_password: str = field(default_factory=secrets.token_hex, repr=False)
    s3_access_key_id: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    s3_secret_access_key: str = field(default_factory=secrets.token_urlsafe, repr=False)
    files_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    webhook_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    events_token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    token: str = field(default_factory=secrets.token_hex, repr=False)
    ports: dict[str, int] = field(default_factory=dict)


def read_kept(directory: Path) -> Kept:
    """Read the secrets and ports of a data directory; return new ones if there are none.

    Raises StartFailed if the file is damaged, OSError if it cannot be read or belongs to another
    user.
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
    """Write the secrets and ports of a data directory. Raises OSError."""
    write_private(directory / KEPT, json.dumps(asdict(kept), indent=2))


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Make the directory if needed, and lock it for this process.

    Raises StartFailed if another process holds the lock, or if other users could change the data.
    Raises OSError.
    """
    # If this process is root, PostgreSQL runs as another user, who must be able to enter the
    # directory.
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
    """Remove other users' right to write in the directory.

    Raises StartFailed if the directory or a file in it belongs to another user. Such a user could
    choose the keys of the stack, or replace its data.
    """
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise StartFailed(f"{directory} belongs to another user: choose another --data-dir")
    if not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return
    directory.chmod(stat.S_IMODE(found.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    for path in directory.iterdir():
        if path.lstat().st_uid != os.geteuid():
            raise StartFailed(f"{path} belongs to another user, who could write to it: remove it")


def local_environment(directory: Path) -> dict[str, str] | None:
    """Return the settings and credentials of the stack that was started in a data directory.

    They include ATTACHMENTS_TOKEN and ATTACHMENTS_ORGANIZATION_ID for clients. Returns None if no
    stack was started there, or if the file belongs to another user.
    """
    try:
        found = json.loads(read_private(directory / ENVIRONMENT))
    except (OSError, ValueError):
        return None
    return {str(name): str(value) for name, value in found.items()}
