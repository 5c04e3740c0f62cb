"""Pure functions that draw the plan of a soak test. The same seed gives the same plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.soak.files import DOCUMENTS, EXTENSIONS, JUNK, MAX_CODE, PHOTOS

MAX_VERSIONS: Final = 4
MAX_UPLOADS: Final = (MAX_CODE + 1) // MAX_VERSIONS

KILLS: Final[Mapping[str, int]] = {"worker": 35, "decoder": 25, "api": 25, "valkey": 15}
"""The kinds of processes that are killed, with their relative frequency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A file to upload, `after_s` seconds after the previous step of the same upload.

    No other version has the same `code`.
    """

    kind: str
    code: int
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The plan for one attachment. Its versions are uploaded one after the other with one policy.

    The attachment is deleted after the upload of `deleted_after` versions and a pause of
    `delete_pause_s` seconds. If `deleted_after` is None, it is not deleted. If there are no
    versions, no file is uploaded.
    """

    number: int
    organization: int
    name: str
    versions: tuple[Version, ...]
    deleted_after: int | None = None
    delete_pause_s: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A planned fault.

    The fault is injected when the fraction `at` of all uploads has ended. `pick`, from 0 to 1,
    chooses the process that gets the fault.
    """

    at: float
    kind: str
    pick: float = 0
    lasts_s: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """The probability of each fault that can happen to an event."""

    drop: float = 0.05
    duplicate: float = 0.08
    delay: float = 0.10
    shuffle: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The fractions of attachments that get no upload, are overwritten, or are deleted."""

    never: float = 0.03
    overwrites: float = 0.17
    deletes: float = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How the relay treats an event: forward, drop, duplicate, delay or shuffle."""

    kind: str
    delay_s: float = 0


def draw_upload(seed: int, number: int, mix: Mix, *, organizations: int) -> Upload:
    """Return the plan of the upload with this number, which is from 0 to MAX_UPLOADS - 1."""
    random = Random(f"{seed}/upload/{number}")
    chance = random.random()
    count = 0 if chance < mix.never else 1
    if chance >= 1 - mix.overwrites:
        count = random.choice([2, 2, 3, MAX_VERSIONS])
    versions = tuple(
        Version(
            kind=_draw_kind(random),
            code=number * MAX_VERSIONS + place,
            after_s=_draw_pause(random) if place else random.choice([0, 0, 0, 0.2, 1]),
        )
        for place in range(count)
    )
    kind = versions[0].kind if versions else "jpeg"
    if random.random() < 0.05:  # the name mostly gets a wrong extension
        kind = random.choice(list(EXTENSIONS))
    stem = random.choice(["photo", "Größe", "scan of", "документ", "a+b%20", "x"])
    deleted = random.random() < mix.deletes
    return Upload(
        number=number,
        organization=random.randrange(organizations),
        name=f"{stem} {number:07d}.{EXTENSIONS[kind]}",
        versions=versions,
        deleted_after=random.randint(0, count) if deleted else None,
        delete_pause_s=_draw_pause(random) if deleted else 0,
    )


def _draw_kind(random: Random) -> str:
    kinds = random.choices([PHOTOS, DOCUMENTS, JUNK], [65, 18, 17])[0]
    return random.choice(list(kinds))


def _draw_pause(random: Random) -> float:
    # The pause is zero, shorter than most processing, or longer than most processing.
    return random.choice([0, random.uniform(0.02, 0.6), random.uniform(0.6, 5)])


def draw_faults(seed: int, *, kills: int) -> list[Fault]:
    """Return the plan of faults: `kills` kills, and some freezes and flushes.

    There is a freeze for every six kills, and a flush of the broker for every ten kills.
    """
    random = Random(f"{seed}/faults")
    faults = [
        Fault(
            at=random.uniform(0.01, 0.99),
            kind=f"kill {random.choices(list(KILLS), list(KILLS.values()))[0]}",
            pick=random.random(),
        )
        for _ in range(kills)
    ]
    for server in ("valkey", "seaweedfs"):
        faults += [
            Fault(
                at=random.uniform(0.01, 0.99),
                kind=f"freeze {server}",
                lasts_s=random.choice([random.uniform(1, 4), random.uniform(4, 12)]),
            )
            for _ in range(_share(kills, 12))
        ]
    faults += [
        Fault(at=random.uniform(0.01, 0.99), kind="flush valkey") for _ in range(_share(kills, 10))
    ]
    return sorted(faults, key=lambda fault: fault.at)


def _share(kills: int, of: int) -> int:
    return -(-kills // of)


def draw_fate(seed: int, about: str, odds: Odds) -> Fate:
    """Return the treatment of an event; `about` identifies the event."""
    random = Random(f"{seed}/event/{about}")
    chance = random.random()
    for kind in ("drop", "duplicate", "delay", "shuffle"):
        chance -= getattr(odds, kind)
        if chance < 0:
            delay_s = random.choice([random.uniform(0.1, 2), random.uniform(2, 20)])
            return Fate(kind=kind, delay_s=delay_s if kind in ("delay", "duplicate") else 0)
    return Fate(kind="forward")
