"""Run benchmarks: `python -m tests.benchmarks [NAME…] [--quick]` prints figures and asserts
nothing.

The machine may be busy, so only the ratios of two figures matter. Therefore the two are measured
alternately.
"""

import argparse
import asyncio
import os
import platform
from collections.abc import Awaitable, Callable
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    box,
    corpus,
    create,
    delay,
    fairness,
    growth,
    intake,
    isolation,
    latency,
    libvips,
    logs,
    memory,
    metrics,
    others,
    peers_bench,
    scaling,
    uploads,
    waiting,
    webhooks,
)
from tests.benchmarks.site import Site, running_site
from tests.support.service_processes import ServiceProcess

BENCHMARKS: Final[dict[str, Callable[[Site], Awaitable[Table]]]] = {
    "create": create.run,
    "intake": intake.run,
    "libvips": libvips.run,
    "box": box.run,
    "uploads": uploads.run,
    "isolation": isolation.run,
    "delay": delay.run,
    "latency": latency.run,
    "memory": memory.run,
    "growth": growth.run,
    "corpus": corpus.run,
    "others": others.run,
    "fairness": fairness.run,
    "peers": peers_bench.run,
    "logs": logs.run,
    "metrics": metrics.run,
    "scaling": scaling.run,
    "webhooks": webhooks.run,
    "waiting": waiting.run,
}


async def main(names: list[str], *, quick: bool) -> None:
    """Run benchmarks. Start the servers again for each benchmark."""
    # A forked process shares memory with its parent, and has less work at its start. So its figures
    # would be too low.
    ServiceProcess.may_fork = False
    console = Console()
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    for name in names:
        async with running_site(quick=quick) as site:
            with console.status(name):
                table = await BENCHMARKS[name](site)
        console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(BENCHMARKS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="rough figures, in a minute or two")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    asyncio.run(main(options.names or list(BENCHMARKS), quick=options.quick))
