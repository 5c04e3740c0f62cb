"""Anonymous files that hold uploads during processing, on disk or in memory."""

import os
import sys
import tempfile
from functools import cache
from typing import BinaryIO

from shared.errors import SettingsError
from shared.log import get_logger

log = get_logger(__name__)


@cache
def has_folder() -> bool:
    """Return True if a folder for temporary files can be written.

    Tries TMPDIR, /tmp, /var/tmp and the current folder, among others (`tempfile.gettempdir`).
    """
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


def check_folder() -> None:
    """Check at the start that there is a folder for large uploads during processing.

    Without one, they are kept in memory on Linux, which is logged. Raises SettingsError on other
    systems.
    """
    if has_folder():
        return
    if sys.platform != "linux":
        raise SettingsError("TMPDIR: there is no folder for temporary files that can be written")
    log.warning("no folder for temporary files: uploads are kept in memory while processed")


def anonymous_file(*, in_memory: bool) -> BinaryIO:
    """Open an anonymous file, so that the system frees it even if the process is killed.

    With `in_memory`, or without a folder for temporary files, it is in memory (Linux only).
    """
    if sys.platform == "linux" and (in_memory or not has_folder()):
        return os.fdopen(os.memfd_create("upload", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="attachments-", buffering=0)
