"""Files without a name that hold uploads during processing, on disk or in memory."""

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
    """Check at the start of the worker that there is a folder for temporary files.

    Large uploads are stored there during processing. Without a folder, they are kept in memory on
    Linux, and a warning is logged. On other systems, raises SettingsError.
    """
    if has_folder():
        return
    if sys.platform != "linux":
        raise SettingsError("TMPDIR: there is no folder for temporary files that can be written")
    log.warning("no folder for temporary files: uploads are kept in memory while processed")


def anonymous_file(*, in_memory: bool) -> BinaryIO:
    """Open a file that has no name, so that the system frees it even if the process is killed.

    On Linux, the file is in memory if `in_memory` is true or if there is no folder for temporary
    files. Elsewhere, it is always on disk.
    """
    if sys.platform == "linux" and (in_memory or not has_folder()):
        return os.fdopen(os.memfd_create("upload", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="attachments-", buffering=0)
