"""Files that only we may read, written in one step, and never read if another user owns them."""

import errno
import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600; no one ever sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def read_private(path: Path) -> bytes:
    """Read a file that we own, or root. Raises OSError, PermissionError if another user owns it.

    Whoever may write in its directory can put one there, and choose keys and addresses by it.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, "belongs to another user", str(path))
        return file.read()
