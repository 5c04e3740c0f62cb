"""Who changed a token by the command line, and where: written to the log and to the token's row."""

import getpass
import os
import socket
from typing import Any

from shared.log import configure_logging, get_logger
from shared.part_settings import LogSettings


def operator() -> str:
    """Name the user of the operating system and the machine: `alice (uid 1000) on host`.

    With sudo it is also who called it. This is what the machine says, not a proof: whoever can run
    the command with these settings can change the database as well.
    """
    uid = os.getuid()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    caller = os.environ.get("SUDO_USER")
    by = f"{user} (uid {uid}{f', by sudo of {caller}' if caller else ''})"
    return f"{by} on {socket.gethostname()}"


def log_change(event: str, settings: LogSettings, **fields: Any) -> None:
    """Write one line to standard error in the configured form, whatever level is set."""
    configure_logging("info", settings.log_format)
    get_logger("attachments.audit").info(event, **fields)
