"""Count the processors that this process may use, from its CPU affinity and its cgroups' quotas."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

MAX_DECODERS: Final = 64

ROOT: Final = Path("/")


def usable(root: Path = ROOT) -> int:
    """Return the number of processors that this process may use, at least 1.

    A fraction of a processor in a quota is rounded up. `root` is the folder that contains `proc`
    and the mounted cgroups.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # this system has no sched_getaffinity
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):  # the files do not exist or have an unknown format
        count = min([count, *(math.ceil(each) for each in _quotas(root))])
    return max(1, count)


def default_decoders() -> int:
    """Return the default number of decoders: one for each processor, at most MAX_DECODERS."""
    return min(usable(), MAX_DECODERS)


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas of this process's cgroups and of their parents, in processors."""
    own = _own_cgroups(root)
    for kind, options, mount_root, mount_point in _mounts(root):
        controllers = {""} if kind == "cgroup2" else {"cpu"} & options
        for controller in controllers:
            if controller not in own:
                continue
            top = root / mount_point.relative_to("/")
            for folder in _upwards(top, own[controller], mount_root):
                with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
                    quota = _v2_quota(folder) if kind == "cgroup2" else _v1_quota(folder)
                    if quota is not None:
                        yield quota


def _own_cgroups(root: Path) -> dict[str, PurePosixPath]:
    """Return the path of this process's cgroup by controller. Version 2 has an empty name."""
    found = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = PurePosixPath(path)
    return found


def _mounts(root: Path) -> Iterator[tuple[str, set[str], PurePosixPath, PurePosixPath]]:
    """Yield type, options, root and mount point of each mounted cgroup hierarchy (proc(5))."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield kind, set(options.split(",")), _unescaped(fields[3]), _unescaped(fields[4])


def _unescaped(text: str) -> PurePosixPath:
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(written, meant)
    return PurePosixPath(text)


def _upwards(top: Path, own: PurePosixPath, mount_root: PurePosixPath) -> Iterator[Path]:
    """Yield the mounted folders of this process's cgroup and of its parents.

    A container without a cgroup namespace sees the host's path of its cgroup, but only this cgroup
    is mounted.
    """
    below = own.relative_to(mount_root) if own.is_relative_to(mount_root) else PurePosixPath()
    yield top
    for number in range(1, len(below.parts) + 1):
        yield top.joinpath(*below.parts[:number])


def _v2_quota(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.max").split()
    return None if quota == "max" else int(quota) / int(period)


def _v1_quota(folder: Path) -> float | None:
    quota = int(_read(folder / "cpu.cfs_quota_us"))
    return None if quota <= 0 else quota / int(_read(folder / "cpu.cfs_period_us"))


def _read(path: Path) -> str:
    return path.read_text(errors="surrogateescape")
