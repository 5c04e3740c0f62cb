"""Run one worker process: `python -m worker`, or `attachments worker`."""

import sys

from shared.log import configure_logging
from shared.settings import Settings, load_settings


def run(settings: Settings) -> int:
    """Run a worker in this process until it is told to stop; returns its exit status."""
    configure_logging(settings.log_level, settings.log_format)
    from worker.app import work

    return work(settings)


if __name__ == "__main__":
    sys.exit(run(load_settings()))
