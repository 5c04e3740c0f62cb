"""Other users of the machine can read no file, process or key of `attachments up`."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.seaweedfs import find_binary
from tests.support.local_ports import ports_of
from tests.support.up import Up, refused

USERS = (65_534, 54_321)
"""The user ids of `nobody`, and of a user without an account on the machine."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def act_as(uid: int, arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as another user. The command inherits only the test's standard input."""
    return subprocess.run(
        arguments,
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        text=True,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        **options,
    )


def shell(up: Up, folder: str | Path, uid: int = 0) -> str:
    """Run SeaweedFS's own client in a folder for at most ten seconds, and return its output."""
    named = {name: port for port, name in ports_of(up).items()}
    master = f"127.0.0.1:{named['master.port']}.{named['master.port.grpc']}"
    # The program is opened here, because the other user may not be able to enter its folder.
    binary = os.open(find_binary(), os.O_RDONLY)
    try:
        process: subprocess.Popen[str] = subprocess.Popen(
            [f"/proc/self/fd/{binary}", "shell", f"-master={master}"],
            pass_fds=[binary],
            cwd=folder,
            env={"HOME": str(folder)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=uid,
            extra_groups=[],
        )
    finally:
        os.close(binary)
    try:
        return process.communicate("cluster.ps\nvolume.list\nfs.ls /buckets\n", 10)[0]
    except subprocess.TimeoutExpired:  # the client retries forever if the server refuses it
        process.kill()
        return process.communicate()[0]


@needs_root
def test_the_stores_own_client_needs_the_keys(up: Up) -> None:
    assert "attachments" in shell(up, up.data_dir / "seaweedfs"), "the client does not work"
    with ThreadPoolExecutor() as pool:  # in parallel: each client runs for ten seconds
        printed_for_others = list(pool.map(lambda uid: shell(up, "/", uid), USERS))
    for printed in printed_for_others:
        assert "attachments" not in printed
        assert "127.0.0.1" not in printed


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_file_can_be_read_or_written(up: Up, uid: int) -> None:
    paths = [up.data_dir / name for name in ("postgres/data/PG_VERSION", "seaweedfs/security.toml")]
    paths += [path for path in up.data_dir.rglob("*") if not path.is_symlink()]
    assert len(paths) > 500
    tried = 'while read -r path; do [ -r "$path" ] || [ -w "$path" ] && echo "$path"; done; :'
    listed = "\n".join(map(str, paths)) + "\n"
    assert act_as(uid, ["sh", "-c", tried], input=listed).stdout == ""
    by_root = act_as(0, ["sh", "-c", tried], input=listed).stdout
    assert len(by_root.splitlines()) > 500, "the question is asked wrongly"


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_process_shows_its_environment_or_files(up: Up, uid: int) -> None:
    pids = [process.pid for process in up.tree()]
    for look, kinds in (("cat", ("environ", "maps", "mem")), ("ls", ("fd/", "cwd/"))):
        paths = [f"/proc/{pid}/{kind}" for pid in pids for kind in kinds]
        tried = f'for path; do {look} "$path"; done'
        assert act_as(uid, ["sh", "-c", tried, "-", *paths]).stdout == ""
    signalled = 'for pid; do kill -0 "$pid" && echo "$pid"; done'
    assert act_as(uid, ["sh", "-c", signalled, "-", *map(str, pids)]).stdout == ""


def test_no_key_is_in_the_list_of_processes(up: Up) -> None:
    configuration = (up.data_dir / "seaweedfs/security.toml").read_text()
    keys = [line.split('"')[1] for line in configuration.splitlines() if line.startswith("key = ")]
    lines = " ".join(word for process in up.tree() for word in process.cmdline())
    assert len([key for key in keys if len(key) == 64]) == 4
    assert not [key for key in keys if key in lines]


@needs_root
@pytest.mark.parametrize("uid", USERS)
def test_no_stack_starts_with_keys_that_they_have_left(tmp_path: Path, uid: int) -> None:
    """`attachments up` refuses a data directory, token or keys that another user owns.

    Otherwise a user who creates the directory first could choose its token and keys.
    """
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "secrets.json").write_text('{"token": "known to them"}')
    for path in (data_dir / "secrets.json", data_dir):
        path.chmod(0o777)
        os.chown(path, uid, uid)
    assert "belongs to another user" in refused(data_dir)
    os.chown(data_dir, 0, 0)
    assert "secrets.json belongs to another user" in refused(data_dir)
    assert refused(data_dir) == (
        f"attachments up: {data_dir / 'secrets.json'}: belongs to another user\n"
    )
