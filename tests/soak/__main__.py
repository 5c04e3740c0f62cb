"""The soak test: `python -m tests.soak [--uploads N] [--kills K] [--seed S] …`, or `make soak`.

Clients upload photos, documents and junk to the real servers. Meanwhile the test kills processes,
freezes servers and empties the broker. It also loses, duplicates or delays events. Then it waits
until no row is due, compares the store's objects with the rows, and prints the invariants. The exit
status is 1 if an invariant is broken.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.soak.plan import MAX_UPLOADS, Mix, Odds
from tests.soak.run import Options, soak
from tests.soak.soak_site import Scale


def parse(arguments: list[str]) -> Options:
    """Parse the command line. The default seed is random."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mix, odds, scale = Mix(), Odds(), Scale()
    add = parser.add_argument
    add("--minutes", type=float, default=30, help="stop uploading after so many (30)")
    add("--uploads", type=int, default=10_000, help="attachments to create (10,000)")
    add("--kills", default="100", help="processes to kill, in all or as 8/min (100)")
    add("--seed", type=int, help="what to draw everything from (a new one)")
    add("--clients", type=int, default=12, help="callers side by side (12)")
    for name in ("never", "overwrites", "deletes"):
        default = getattr(mix, name)
        add(f"--{name}", type=float, default=default, help=f"share of attachments ({default})")
    for name in ("drop", "duplicate", "delay", "shuffle"):
        default = getattr(odds, name)
        add(f"--{name}", type=float, default=default, help=f"share of events to {name} ({default})")
    for name in ("apis", "workers", "organizations"):
        add(f"--{name}", type=int, default=getattr(scale, name), help="how many")
    add("--policy-ttl", type=int, default=scale.policy_ttl_s, help="seconds, at least 60")
    add("--keep", action="store_true", help="keep the logs even if all is well")
    given = parser.parse_args(arguments)
    if not 0 < given.uploads <= MAX_UPLOADS - 10_000:
        parser.error(f"--uploads must be from 1 to {MAX_UPLOADS - 10_000}")
    try:
        number, _, per = given.kills.partition("/")
        kills = round(float(number) * (given.minutes if per else 1))
    except ValueError:
        parser.error("--kills must be a number, or a number a minute such as 8/min")
    return Options(
        minutes=given.minutes,
        uploads=given.uploads,
        kills=kills,
        seed=secrets.randbelow(2**31) if given.seed is None else given.seed,
        clients=given.clients,
        keep=given.keep,
        mix=Mix(never=given.never, overwrites=given.overwrites, deletes=given.deletes),
        odds=Odds(
            drop=given.drop, duplicate=given.duplicate, delay=given.delay, shuffle=given.shuffle
        ),
        scale=Scale(
            apis=given.apis,
            workers=given.workers,
            organizations=given.organizations,
            policy_ttl_s=given.policy_ttl,
        ),
    )


def main(arguments: list[str]) -> int:
    """Run the soak test in its own temporary folder, and return the exit status.

    The folder is kept if an invariant is broken.
    """
    options = parse(arguments)
    console = Console(width=100, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="attachments-soak-"))
    folder.chmod(0o755)  # PostgreSQL may run as another user, who must read the folder
    console.print(f"soak: {options.words()}", markup=False, soft_wrap=True)
    console.print(
        f"to repeat it: python -m tests.soak {options.words()}", markup=False, soft_wrap=True
    )
    well = False
    try:
        well = asyncio.run(soak(options, folder, console))
    finally:
        if well and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            console.print(f"logs are in {folder}", markup=False)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
