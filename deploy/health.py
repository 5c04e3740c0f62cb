"""The health check of a process in its container: `attachments health`, `python -m deploy.health`.

This module imports little, because the check runs every few seconds.
"""

import http.client
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from shared.foreign import forget_foreign_variables
from shared.listening import is_everywhere
from shared.log_lines import fault_line, name_process

TIMEOUT_S = 4.0

Process = Literal["api", "worker", "consume"]
PROCESSES: tuple[Process, ...] = get_args(Process)


def ask(
    question: str = "live", process: Process | None = None, data_dir: Path | None = None
) -> str | None:
    """Ask a process of this machine if it is `live` or `ready`; return the fault, or None.

    It is a fault if the process does not answer within TIMEOUT_S. If the settings have no address,
    this asks a process of `attachments up` in `data_dir`.
    """
    # Names of variables are compared without their case, as in the settings.
    given = {name.upper(): value for name, value in os.environ.items()}
    found = _address(given, process, data_dir)
    if isinstance(found, str):
        return found
    host, port = found
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        connection.request("GET", f"/health/{question}")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"no answer at {host} port {port}: {type(error).__name__}"
    return None if status == 200 else f"answered {status}"


def _address(
    given: Mapping[str, str], process: Process | None, data_dir: Path | None
) -> tuple[str, str] | str:
    """Return the host and the port of the address to ask.

    For the API, this is its own address. For other processes, it is the metrics address. If
    `process` is None, it is the metrics address if the settings have a port for it, otherwise the
    API's address. If no address is known, returns a text with the name of the missing setting.
    """
    port = given.get("ATTACHMENTS_METRICS_PORT") or ""
    if process == "api" or (process is None and port in ("", "0")):
        host = given.get("ATTACHMENTS_API_HOST") or "127.0.0.1"
        return _reached(host), given.get("ATTACHMENTS_API_PORT") or "8000"
    if not port and data_dir is not None:
        return _of_local(data_dir, process)
    if port in ("", "0"):
        return (
            f"ATTACHMENTS_METRICS_PORT: is {port or 'not set'}; a process answers at that port,"
            " so set one"
        )
    return _reached(given.get("ATTACHMENTS_METRICS_HOST") or "127.0.0.1"), port


def _of_local(data_dir: Path, process: Process | None) -> tuple[str, str] | str:
    try:
        url = json.loads((data_dir / "ready.json").read_text())["metrics_urls"][process]
    except (OSError, ValueError, KeyError, TypeError):
        return "ATTACHMENTS_METRICS_PORT: is not set, and no local stack runs this process"
    parts = urlsplit(url)
    return parts.hostname or "", str(parts.port)


def _reached(host: str) -> str:
    return "127.0.0.1" if is_everywhere(host) else host


def main() -> None:
    """Run the check. The exit status is 0 if the process is healthy, otherwise 1."""
    name_process("command")
    # Remove other programs' variables, such as those that Kubernetes sets for each Service.
    forget_foreign_variables()
    fault = ask("ready" if "--ready" in sys.argv[1:] else "live")
    if fault is not None:
        sys.exit(fault_line(f"attachments health: {fault}"))


if __name__ == "__main__":
    main()
