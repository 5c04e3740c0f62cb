"""Record which user changed a token on the command line, and on which machine.

The record is in the token's row and in the log.
"""

import getpass
import os
import socket
from typing import Any

from shared.log import configure_logging, get_logger
from shared.part_settings import LogSettings


def operator() -> str:
    """Return the operating system's user and the machine: `alice (uid 1000) on host`.

    If sudo is used, the result also has the user who called sudo. The result does not prove who
    changed a token, because anyone with these settings can also change the database directly.
    """
    uid = os.getuid()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have an id, but no name
        user = "unknown"
    caller = os.environ.get("SUDO_USER")
    by = f"{user} (uid {uid}{f', by sudo of {caller}' if caller else ''})"
    return f"{by} on {socket.gethostname()}"


def log_change(event: str, settings: LogSettings, **fields: Any) -> None:
    """Write one log line to standard error in the configured format. No log level suppresses it."""
    configure_logging("info", settings.log_format)
    get_logger("attachments.audit").info(event, **fields)
