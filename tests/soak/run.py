"""The steps of a soak test: uploads with faults, a proof of recovery, waiting for the end, purge,
verdict.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.soak.bounds import MIB, grown, held_bytes, look_for_leaks
from tests.soak.chaos import Chaos
from tests.soak.clients import Clients, Ledger
from tests.soak.hook_verdict import deliver, judge_hooks
from tests.soak.plan import Mix, Odds, Upload, draw_faults, draw_upload
from tests.soak.settling import Picture, backlog, look, prove_alive, purge, settle
from tests.soak.soak_site import Scale, Site, running_site
from tests.soak.summary import describe, print_invariants, spread, states
from tests.soak.verdict import (
    ANSWERS,
    ENDS,
    FOREIGN,
    HANDS,
    Finding,
    by_invariant,
    delays_s,
    judge,
    spared,
)

ROOM = 200
"""The number of uploads that may wait for the workers. If more wait, the clients pause.

The workers always have enough work, but the queue does not grow without limit.
"""
PROGRESS_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a soak test. The plan of the test is drawn from these options."""

    minutes: float
    uploads: int
    kills: int
    seed: int
    clients: int
    mix: Mix
    odds: Odds
    scale: Scale
    keep: bool = False

    def words(self) -> str:
        """Return the options as arguments for the command line."""
        mix, odds, scale = self.mix, self.odds, self.scale
        return (
            f"--minutes {self.minutes:g} --uploads {self.uploads} --kills {self.kills}"
            f" --seed {self.seed} --clients {self.clients} --never {mix.never:g}"
            f" --overwrites {mix.overwrites:g} --deletes {mix.deletes:g} --drop {odds.drop:g}"
            f" --duplicate {odds.duplicate:g} --delay {odds.delay:g} --shuffle {odds.shuffle:g}"
            f" --apis {scale.apis} --workers {scale.workers}"
            f" --organizations {scale.organizations} --policy-ttl {scale.policy_ttl_s}"
        )


async def soak(options: Options, folder: Path, console: Console) -> bool:
    """Run the soak test, and return True if every invariant holds.

    The first SIGINT ends the uploads and the faults. The second SIGINT ends the wait for due rows.
    """
    began = time.monotonic()

    def print_line(words: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {words}", markup=False, soft_wrap=True)

    over, hurry = asyncio.Event(), asyncio.Event()

    def interrupted() -> None:
        print_line(
            "interrupted: " + ("no more waiting" if over.is_set() else "settling; again to stop")
        )
        (hurry if over.is_set() else over).set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        async with running_site(
            folder, seed=options.seed, odds=options.odds, scale=options.scale
        ) as site:
            print_line(f"{len(site.kept)} processes run")
            return await _soak(options, site, console, print_line, over, hurry)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _soak(
    options: Options,
    site: Site,
    console: Console,
    print_line: Callable[[str], None],
    over: asyncio.Event,
    hurry: asyncio.Event,
) -> bool:
    ledger = Ledger()
    clients = Clients(site, ledger, seed=options.seed)
    chaos = Chaos(site, draw_faults(options.seed, kills=options.kills))
    watch = asyncio.create_task(_watch(site, clients, ledger, chaos, print_line))
    began = time.monotonic()
    try:
        await _upload(options, clients, chaos, ledger, over)
        uploading_s, made = time.monotonic() - began, len(ledger.entries)
        print_line(f"{made} of {options.uploads} uploads are made; no more faults")
        over.set()
        await site.relay.drain()
        findings = await prove_alive(site, clients, ledger, options.uploads)
        findings += [
            Finding(invariant=HANDS, about=f"decoder {pid} outlived its worker")
            for pid in chaos.outlived()
        ]
        findings += await settle(site, hurry, print_line)
        findings += await purge(site, hurry, print_line)
        await deliver(site, hurry)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    held = held_bytes(site)
    findings += grown(held)
    print_line("comparing the store with the rows")
    picture = await look(site)
    findings += judge(ledger.entries, picture.rows, picture.objects, picture.shown)
    findings += [Finding(invariant=ANSWERS, about=about) for about in ledger.odd]
    findings += [Finding(invariant=FOREIGN, about=about) for about in ledger.foreign]
    findings += await judge_hooks(site, picture.rows.values())
    findings += await look_for_leaks(site)
    for part in site.kept.values():
        findings += [Finding(invariant=ENDS, about=about) for about in part.unasked]
    findings += spared(made=made, asked=options.uploads, left_out=chaos.left_out)
    _print_report(console, site, ledger, chaos, picture, held, uploads_per_s=made / uploading_s)
    return print_invariants(console, by_invariant(findings))


async def _upload(
    options: Options, clients: Clients, chaos: Chaos, ledger: Ledger, over: asyncio.Event
) -> None:
    began, ended = time.monotonic(), asyncio.Event()
    organizations = options.scale.organizations

    def uploads() -> Iterator[Upload]:
        for number in range(options.uploads):
            yield draw_upload(options.seed, number, options.mix, organizations=organizations)

    def progress() -> float:
        past = (time.monotonic() - began) / (options.minutes * 60)
        return max(past, ledger.begun / options.uploads)

    async def until_over() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), options.minutes * 60)
        ended.set()

    clock = asyncio.create_task(until_over())
    faults = asyncio.create_task(chaos.run(progress, ended))
    try:
        await clients.run(uploads(), ended, side_by_side=options.clients)
    finally:
        clients.room.set()
        ended.set()
        clock.cancel()
        await asyncio.gather(clock, faults, return_exceptions=True)
    faults.result()


async def _watch(
    site: Site, clients: Clients, ledger: Ledger, chaos: Chaos, print_line: Callable[[str], None]
) -> None:
    """Pause the clients while more than ROOM uploads wait, and print the progress from time to
    time.
    """
    reported = time.monotonic()
    while True:
        await asyncio.sleep(1)
        waiting = await backlog(site)
        if waiting > ROOM:
            clients.room.clear()
        else:
            clients.room.set()
        if time.monotonic() - reported >= PROGRESS_S:
            reported = time.monotonic()
            rows = await site.database.fetch(
                "SELECT CASE WHEN deleted_at IS NULL THEN state ELSE 'deleted' END, count(*)"
                " FROM attachments GROUP BY 1"
            )
            print_line(
                f"{ledger.begun} begun, {ledger.accepted} accepted:"
                f" {describe({row[0]: row[1] for row in rows})};"
                f" faults: {chaos.done.total()}; events: {site.relay.counts.total()}"
            )


def _print_report(
    console: Console,
    site: Site,
    ledger: Ledger,
    chaos: Chaos,
    picture: Picture,
    held: Mapping[str, int],
    *,
    uploads_per_s: float,
) -> None:
    lost = site.relay.lost
    delays = delays_s(ledger.entries, picture.rows)
    reported = [delay for number, delay in delays.items() if number not in lost]
    often = {entry.upload.number for entry in ledger.entries if len(entry.sent) > 1}
    unreported = [delay for number, delay in delays.items() if number in lost - often]
    unreported_often = [delay for number, delay in delays.items() if number in lost & often]
    kinds = Counter(sent.kind for entry in ledger.entries for sent in entry.sent)
    unknown = len(picture.rows) - len(ledger.entries)
    for title, words in (
        ("attachments", f"{len(picture.rows)}, of which {unknown} whose 201 got lost"),
        ("uploads accepted", f"{ledger.accepted}, {uploads_per_s:.1f} attachments a second"),
        ("files", describe(kinds)),
        ("states", describe(states(picture.rows))),
        ("objects", f"{len(picture.objects)}, {len(picture.shown)} thumbnails read"),
        ("faults", describe(chaos.done)),
        ("starts", describe({part.name: part.starts for part in site.kept.values()})),
        ("memory", ", ".join(f"{name} {size // MIB} MiB" for name, size in held.items())),
        ("events", describe(site.relay.counts)),
        ("deliveries", describe(site.receivers.counts)),
        ("clients saw", describe(ledger.counts)),
        ("201 to final state", spread(reported)),
        ("its event lost", spread(unreported)),
        ("overwritten, one lost", spread(unreported_often)),
    ):
        console.print(f"{title:>25}: {words}", markup=False, soft_wrap=True)
    for report in [line for line in site.reports if "trying again" in line][:10]:
        console.print(f"  supervisor: {report}", markup=False)
