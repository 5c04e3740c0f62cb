"""The command `attachments`; of all that it imports, what ends it early comes first."""

import sys

from shared.beginning import leave_when_told

SERVING = ("api", "worker", "consume", "up")


def prepare() -> None:
    """Have a process that is to serve end early where it is told to; others end as usual."""
    if sys.argv[1:2] and sys.argv[1] in SERVING:
        leave_when_told()


def main() -> None:
    """Run the command line of this process."""
    prepare()
    from deploy.cli import main as run

    run()


if __name__ == "__main__":
    main()
