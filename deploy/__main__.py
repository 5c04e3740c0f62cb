"""The command `attachments`. Signals are prepared before all other imports, see `prepare`."""

import sys

from shared.beginning import end_on_signal

SERVING = ("api", "worker", "consume", "up")


def prepare() -> None:
    """Make a serving command end with status 0 at SIGTERM or SIGINT even during its imports."""
    if sys.argv[1:2] and sys.argv[1] in SERVING:
        end_on_signal()


def main() -> None:
    """Run the command line of this process."""
    prepare()
    from deploy.cli import main as run

    run()


if __name__ == "__main__":
    main()
