"""Write files that only their owner may read. Read only files of this user or of root."""

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

    Raises PermissionError if another user owns the file. Such a user could choose the keys and
    addresses that the service uses.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, "belongs to another user", str(path))
        return file.read()
