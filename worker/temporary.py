"""Files without a name, for uploads while they are processed: on disk, or in memory."""

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
    """Whether there is a folder for temporary files: TMPDIR, /tmp, /var/tmp or the current one."""
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


def check_folder() -> None:
    """Say at the start where large uploads are kept while they are processed.

    Without a folder they are kept in memory, on Linux. Raises SettingsError elsewhere.
    """
    if has_folder():
        return
    if sys.platform != "linux":
        raise SettingsError("TMPDIR: there is no folder for temporary files that can be written")
    log.warning("no folder for temporary files: uploads are kept in memory while processed")


def anonymous_file(*, in_memory: bool) -> BinaryIO:
    """Open a file without a name, so that nothing is left behind whatever happens."""
    if sys.platform == "linux" and (in_memory or not has_folder()):
        return os.fdopen(os.memfd_create("upload", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="attachments-", buffering=0)
