"""The health check of an API in its container: `attachments health`, or `python -m deploy.health`.

This module imports little, because the check runs every few seconds.
"""

import http.client
import os
import sys

from shared.foreign import forget_foreign_variables
from shared.listening import is_everywhere

TIMEOUT_S = 4.0


def ask(question: str = "live") -> str | None:
    """Ask the configured API whether it is `live` or `ready`; return the fault, or None."""
    # The settings ignore the case of variables' names too.
    given = {name.upper(): value for name, value in os.environ.items()}
    host = given.get("ATTACHMENTS_API_HOST") or "127.0.0.1"
    port = given.get("ATTACHMENTS_API_PORT") or "8000"
    if is_everywhere(host):
        host = "127.0.0.1"
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        connection.request("GET", f"/health/{question}")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"no answer at {host} port {port}: {type(error).__name__}"
    return None if status == 200 else f"answered {status}"


def main() -> None:
    """Run the check; exit with status 0 if the API answers, 1 if not."""
    forget_foreign_variables()  # also removes variables with links to a Service of Kubernetes
    fault = ask("ready" if "--ready" in sys.argv[1:] else "live")
    if fault is not None:
        sys.exit(f"attachments health: {fault}")


if __name__ == "__main__":
    main()
