"""The default number of decoders follows processor affinity and cgroup quotas, within limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import processors
from shared.settings import Settings
from tests.support.service import make_settings

NEEDED = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://h/d",
    "ATTACHMENTS_BROKER_URL": "redis://h",
    "ATTACHMENTS_S3_BUCKET": "bucket",
    "ATTACHMENTS_FILES_SECRET": "x" * 16,
}
V1_OPTIONS = "rw,cpu,cpuacct"


def system(
    root: Path, *, own: str, kind: str, mount_root: str, point: str, files: dict[str, str]
) -> Path:
    """Write files like those of /proc and /sys that describe cgroups; return their root folder."""
    options = "rw" if kind == "cgroup2" else V1_OPTIONS
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(own)
    (proc / "mountinfo").write_text(
        "22 1 0:20 / / rw - overlay overlay rw\n"
        f"30 22 0:26 {mount_root} {point} rw,nosuid shared:9 - {kind} cgroup {options}\n"
    )
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("max 100000", 8),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", 2),
        ("20000 10000", 2),
        ("1600000 100000", 8),
        ("1000 100000", 1),
        ("garbage", 8),
        ("", 8),
        ("100000 0", 8),
    ],
)
def test_a_quota_of_version_2_is_rounded_up(tmp_path: Path, text: str, count: int) -> None:
    root = system(
        tmp_path,
        own="0::/\n",
        kind="cgroup2",
        mount_root="/",
        point="/sys/fs/cgroup",
        files={"sys/fs/cgroup/cpu.max": text},
    )
    assert processors.usable(root) == count


def test_the_least_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        own="0::/pods/one/box\n",
        kind="cgroup2",
        mount_root="/",
        point="/sys/fs/cgroup",
        files={
            "sys/fs/cgroup/pods/cpu.max": "700000 100000",
            "sys/fs/cgroup/pods/one/cpu.max": "300000 100000",
            "sys/fs/cgroup/pods/one/box/cpu.max": "max 100000",
        },
    )
    assert processors.usable(root) == 3


@pytest.mark.parametrize(
    ("quota", "count"), [("-1", 8), ("0", 8), ("200000", 2), ("250000", 3), ("1000", 1)]
)
@pytest.mark.parametrize(
    ("mount_root", "folder"),
    [("/", "sys/fs/cgroup/cpu/docker/id"), ("/docker/id", "sys/fs/cgroup/cpu")],
    ids=["host", "container"],
)
def test_a_quota_of_version_1(
    tmp_path: Path, mount_root: str, folder: str, quota: str, count: int
) -> None:
    root = system(
        tmp_path,
        own="5:cpu,cpuacct:/docker/id\n0::/\n",
        kind="cgroup",
        mount_root=mount_root,
        point="/sys/fs/cgroup/cpu",
        files={f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"},
    )
    assert processors.usable(root) == count


@pytest.mark.parametrize("own", ["", "no colons\n", "0::/\n"])
def test_an_unreadable_quota_is_ignored(tmp_path: Path, own: str) -> None:
    assert processors.usable(tmp_path) == 8
    root = system(
        tmp_path, own=own, kind="cgroup2", mount_root="/", point="/sys/fs/cgroup", files={}
    )
    assert processors.usable(root) == 8


@pytest.mark.parametrize("count", [65, 128, 1024])
def test_a_large_machine_has_the_most_decoders_that_may_be_set(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)
    monkeypatch.setattr(processors, "ROOT", Path("/nonexistent"))
    settings: Settings = make_settings(NEEDED)
    assert 1 <= settings.decoders <= 64


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_a_process_of_one_processor_has_one_decoder() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from shared.settings import load_settings; print(load_settings().decoders)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**NEEDED, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "1\n"
