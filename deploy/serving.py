"""Handle signals in commands that run until a signal stops them, even during their imports."""

import sys

from shared.beginning import end_on_signal

SERVING = ("api", "worker", "consume", "up")


def prepare() -> None:
    """Make a serving command end with status 0 at SIGTERM or SIGINT, even during its imports."""
    if sys.argv[1:2] and sys.argv[1] in SERVING:
        end_on_signal()
