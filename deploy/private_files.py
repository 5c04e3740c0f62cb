"""Write files that only their owner may read; read only files that belong to this user or root."""

import errno
import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically: readers see the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def read_private(path: Path) -> bytes:
    """Read a file that belongs to this user or to root. Raises OSError.

    Raises PermissionError if another user owns the file. Otherwise a user who may write in the
    directory could put a file there, and so choose keys and addresses.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, "belongs to another user", str(path))
        return file.read()
