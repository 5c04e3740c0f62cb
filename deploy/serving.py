"""Handle signals in commands that run until a signal stops them, even during their imports."""

import sys

from shared.beginning import end_on_signal, pause_collection

SERVING = ("api", "worker", "consume", "up")


def prepare() -> None:
    """Make a serving command end with status 0 at SIGTERM or SIGINT, even during its imports.

    Garbage is not collected until the command calls `shared.beginning.resume_collection`.
    """
    if sys.argv[1:2] and sys.argv[1] in SERVING:
        end_on_signal()
        pause_collection()
