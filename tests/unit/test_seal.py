"""What a sealed process can find out and do, what it runs as, and what happens without a seal."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil  # type: ignore[import-untyped]  # its stubs are a package that we do not lock
import pytest
import structlog
from pydantic import SecretStr

from deploy.doctor.examination import Examination
from deploy.doctor.seal import check_seal
from shared.errors import DecoderFault
from tests.data import images
from tests.support.decoders import children, decode, find_zygotes
from tests.support.seal import NO_CAPABILITY, SETS, python_that_cannot_seal, status_of
from tests.support.settings import VALID
from worker.decoding.decoders import Decoders
from worker.decoding.formats import Box
from worker.decoding.process import Decoder
from worker.sandbox.privileges import BOX_USER
from worker.sandbox.sealing import find_obstacle
from worker.sandbox.seccomp import ALLOWED, RESTRICTED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux"),
    pytest.mark.usefixtures("ended_decoders"),
]

ROOT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can give root up"
)

OPENING = """
import ctypes, json, mmap, os, signal, socket, sys, time
sys.path.insert(0, {root!r})
from worker.sandbox import privileges, seccomp
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
library = seccomp._LIBRARY
def number(name):
    return library.seccomp_syscall_resolve_name(name.encode())
def call(number, *arguments):
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    words += [ctypes.c_long(0)] * (6 - len(words))
    ctypes.set_errno(0)
    return [libc.syscall(ctypes.c_long(number), *words), ctypes.get_errno()]
"""


def run(code: str, *arguments: str) -> Any:
    """Run code in a process of its own and read the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING.format(root=str(ROOT)) + code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


# --- what paths tell -----------------------------------------------------------------------------

PATH_FIRST = (
    "access",
    "acct",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "creat",
    "execve",
    "getxattr",
    "inotify_add_watch",
    "lchown",
    "lgetxattr",
    "link",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mknod",
    "mount",
    "open",
    "pivot_root",
    "readlink",
    "removexattr",
    "rename",
    "rmdir",
    "setxattr",
    "stat",
    "statfs",
    "swapoff",
    "swapon",
    "symlink",
    "truncate",
    "umount2",
    "unlink",
    "uselib",
    "utime",
    "utimes",
)
PATH_SECOND = (
    "execveat",
    "faccessat",
    "faccessat2",
    "fanotify_mark",
    "fchmodat",
    "fchmodat2",
    "fchownat",
    "fspick",
    "futimesat",
    "getxattrat",
    "linkat",
    "listxattrat",
    "mkdirat",
    "mknodat",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "newfstatat",
    "open_tree",
    "openat",
    "openat2",
    "readlinkat",
    "renameat",
    "renameat2",
    "statx",
    "symlinkat",
    "unlinkat",
    "utimensat",
)

TELLING = """
names, paths = json.loads(sys.argv[1]), [ctypes.create_string_buffer(path.encode())
    for path in json.loads(sys.argv[2])]
info = ctypes.create_string_buffer(4096)
numbers = {name: number(name) for name in names}
assert seccomp.seal()
cwd = {"first": (), "second": (-100,)}[sys.argv[3]]
# arguments that make stat, statx, open and access succeed for a path that exists
print(json.dumps({
    name: [call(numbers[name], *cwd, path, info, 0, info) for path in paths]
    for name in names if numbers[name] >= 0
}))
"""


@pytest.mark.parametrize(
    ("names", "place"), [(PATH_FIRST, "first"), (PATH_SECOND, "second")], ids=["first", "second"]
)
def test_no_system_call_tells_whether_a_path_exists(
    names: tuple[str, ...], place: str, tmp_path: Path
) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.touch()
    link.symlink_to(there)
    paths = [
        "/etc/passwd",
        "/nowhere",
        "/proc/self/environ",
        "/proc/self/nowhere",
        "/proc/1/root",
        str(there),
        str(link),
        str(tmp_path),
        str(tmp_path / "absent"),
        "etc",
        "..",
        "absent",
        "",
    ]
    found = run(TELLING, json.dumps(names), json.dumps(paths), place)
    assert len(found) > len(names) / 2  # some are of other architectures or of newer kernels
    for name, answers in found.items():
        assert answers == [[-1, 1]] * len(paths), name  # EPERM
    assert there.exists()


ALLOWED_ONES = """
there, absent, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
path = ctypes.create_string_buffer(there.encode())
found = {}
for name in names:
    found[name] = []
    for content in (there, absent):
        for arguments in ((path,), (-100, path), (-100, path, 0, 0x1000)):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                signal.alarm(5)
                path.value = content.encode()
                place = number(name)
                assert seccomp.seal()
                os.write(writing, json.dumps(call(place, *arguments)).encode())
                os._exit(0)
            os.close(writing)
            answer = os.read(reading, 99).decode()
            os.close(reading)
            status = os.waitpid(child, 0)[1]
            found[name].append([content == there, answer, status])
print(json.dumps(found))
"""


def test_no_allowed_system_call_takes_a_path(tmp_path: Path) -> None:
    there = tmp_path / "file-a"
    there.touch()
    names = sorted({*ALLOWED, *(name for name, *_ in RESTRICTED)})
    # Their answers are of this process, not of their arguments.
    varying = {"brk", "getpid", "gettid"}
    found = run(
        ALLOWED_ONES,
        str(there),
        str(tmp_path / "file-b"),
        json.dumps([name for name in names if name not in varying]),
    )
    for name, answers in found.items():
        of_there = [answer for exists, *answer in answers if exists]
        of_absent = [answer for exists, *answer in answers if not exists]
        assert of_there == of_absent, name


# --- what else a sealed process cannot find out or do ---------------------------------------------

ATTEMPTS = """
parent = os.getppid()
pair, other = socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\\0attachments-test-%d" % os.getpid())
name = listener.getsockname()
held = mmap.mmap(-1, 4096)
place = ctypes.addressof(ctypes.c_char.from_buffer(held))
numbers = {name: number(name) for name in
    ("mmap", "mprotect", "madvise", "sysinfo", "clock_gettime", "sched_getaffinity", "prctl")}
info = ctypes.create_string_buffer(4096)
os.chdir(sys.argv[1])
assert seccomp.seal()
def told(attempt):
    try:
        attempt()
    except OSError as error:
        return error.errno
    return 0
print(json.dumps({
    "write and execute": call(numbers["mmap"], 0, 4096, 7, 0x22, -1),
    "make executable": call(numbers["mprotect"], place, 4096, 5),
    "make writable": call(numbers["mprotect"], place, 4096, 3),
    "share pages": call(numbers["madvise"], place, 4096, 12),
    "give pages back": call(numbers["madvise"], place, 4096, 4),
    "memory of the machine": call(numbers["sysinfo"], info),
    "clock of its parent": call(numbers["clock_gettime"], (~parent << 3) | 2, info),
    "clock of nobody": call(numbers["clock_gettime"], (~4000000 << 3) | 2, info),
    "its own clock": call(numbers["clock_gettime"], 2, info),
    "processors of its parent": call(numbers["sched_getaffinity"], parent, 128, info),
    "processors of nobody": call(numbers["sched_getaffinity"], 4000000, 128, info),
    "set its name": call(numbers["prctl"], 15, info),
    "send to an address": [told(lambda: other[0].sendto(b"x", name)), 0],
    "send out of band": [told(lambda: pair[0].send(b"x", socket.MSG_OOB)), 0],
    "send": [told(lambda: pair[0].send(b"x")), 0],
    "working directory": [os.getcwd(), 0],
}))
"""


def test_a_sealed_process_learns_nothing_of_others_and_makes_no_new_code(tmp_path: Path) -> None:
    refused = [-1, 1]
    assert run(ATTEMPTS, str(tmp_path)) == {
        "write and execute": refused,
        "make executable": refused,
        "make writable": [0, 0],
        "share pages": refused,
        "give pages back": [0, 0],
        "memory of the machine": refused,
        "clock of its parent": refused,
        "clock of nobody": refused,
        "its own clock": [0, 0],
        "processors of its parent": refused,
        "processors of nobody": refused,
        "set its name": refused,
        "send to an address": [1, 0],
        "send out of band": [1, 0],
        "send": [0, 0],
        "working directory": ["/", 0],
    }


# --- what it runs as ------------------------------------------------------------------------------


@AS_ROOT
@pytest.mark.parametrize(
    ("kind", "more"),
    [(Box.IMAGES, ()), (Box.IMAGES, ("heic",)), (Box.DOCUMENTS, ())],
    ids=["images", "with threads", "documents"],
)
async def test_a_decoder_of_root_becomes_a_user_that_no_one_is(
    kind: Box, more: tuple[str, ...]
) -> None:
    started = await Decoder.start(kind, more)
    try:
        status = await asyncio.to_thread(status_of, started.pid)
        assert status["Uid"] == status["Gid"] == " ".join([str(BOX_USER)] * 4)
        assert status["Groups"] == ""
        assert {name: status[name] for name in SETS} == dict.fromkeys(SETS, NO_CAPABILITY)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        owner = await asyncio.to_thread(os.stat, f"/proc/{started.pid}/environ")
        assert owner.st_uid == 0  # it is not dumpable: even nobody cannot look into it
    finally:
        await started.stop()


DROPPING = """
{before}
privileges.drop()
privileges.drop()
lines = open("/proc/self/status").read().splitlines()
print(json.dumps({{name: " ".join(value.split())
    for name, _, value in (line.partition(":") for line in lines)}}))
"""
WITHOUT = """
halves = (privileges._Half * 2)()
header = privileges._Header(privileges._VERSION_3, 0)
libc.capget(ctypes.byref(header), ctypes.byref(halves))
halves[{capability} // 32].effective &= ~(1 << {capability} % 32)
assert libc.capset(ctypes.byref(header), ctypes.byref(halves)) == 0
"""


@AS_ROOT
@pytest.mark.parametrize("capability", [5, 6, 7], ids=["KILL", "SETGID", "SETUID"])
def test_one_that_root_could_not_kill_any_more_only_loses_its_capabilities(capability: int) -> None:
    status = run(DROPPING.format(before=WITHOUT.format(capability=capability)))
    assert status["Uid"] == "0 0 0 0"
    assert {name: status[name] for name in SETS} == dict.fromkeys(SETS, NO_CAPABILITY)


def test_one_that_is_not_root_goes_on_as_it_is() -> None:
    before = "if os.geteuid() == 0: os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(2, 2, 2)"
    status = run(DROPPING.format(before=before))
    user = "2 2 2 2" if os.geteuid() == 0 else " ".join([str(os.geteuid())] * 4)
    assert status["Uid"] == user
    assert status["CapEff"] == status["CapPrm"] == NO_CAPABILITY
    assert status["NoNewPrivs"] == "1"


# --- a machine that cannot seal -------------------------------------------------------------------


OBSTACLES = {
    "no library": "libseccomp.so.2 cannot be loaded: install libseccomp 2"
    " (Debian and Ubuntu: libseccomp2; Fedora: libseccomp)",
    "no filter": "the kernel refuses the filter: allow the system calls seccomp and prctl"
    " in the security profile of the container or service",
}
STARTING = """
import sys
sys.executable = sys.argv[1]
from deploy.cli import run
sys.exit(run(["worker"]))
"""


def start_worker(program: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `attachments worker` until it ends, with a Python of ours for what it starts."""
    environment = {f"ATTACHMENTS_{name}": value for name, value in {**VALID, **variables}.items()}
    return subprocess.run(
        [sys.executable, "-c", STARTING, program],
        cwd=ROOT,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_worker_that_must_seal_and_cannot_does_not_start(obstacle: str, tmp_path: Path) -> None:
    program = python_that_cannot_seal(tmp_path, obstacle)
    ended = start_worker(program, {"DECODER_SEAL": "required"})
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "attachments: these settings cannot be used:",
        "  ATTACHMENTS_DECODER_SEAL: is required, but decoders cannot be sealed here: "
        + OBSTACLES[obstacle],
    ]


def test_a_word_that_is_none_is_refused() -> None:
    ended = start_worker(sys.executable, {"DECODER_SEAL": "always"})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[1:] == [
        "  ATTACHMENTS_DECODER_SEAL: input should be 'preferred' or 'required'"
    ]


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_a_decoder_that_must_be_sealed_and_is_not_gets_no_file(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asyncio.to_thread(find_obstacle) is None
    pool = Decoders(1, timeout_s=20, must_be_sealed=True)
    await pool.warm_up()
    spares = children()
    assert spares
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, obstacle))
    (zygote,) = find_zygotes(os.getpid())
    zygote.kill()
    # The kernel kills them with their zygote. One that is only about to end has no command line any
    # more, but its socket is still open: wait for the end of the process.
    _, alive = await asyncio.to_thread(psutil.wait_procs, spares, 10)
    assert alive == []
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(DecoderFault, match="decoder_fault"),
    ):
        await decode(pool, images.photo())
    refusal = "decoder is not sealed: no file is sent to it"
    assert refusal in [entry["event"] for entry in logged]
    (zygote,) = find_zygotes(os.getpid())
    zygote.kill()
    monkeypatch.undo()
    assert (await decode(pool, images.photo())).facts.width == 800
    await pool.close()


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_one_that_may_be_unsealed_decodes_all_the_same(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, obstacle))
    pool = Decoders(1, timeout_s=20)
    assert (await decode(pool, images.photo())).facts.width == 800
    assert children()
    for child in children():
        assert (psutil.Process(child.pid).uids().real == BOX_USER) is (os.geteuid() == 0)
    await pool.close()


@pytest.mark.parametrize(
    ("broker", "seal", "status"),
    [
        ("redis://10.0.0.1", "required", "skipped"),
        ("redis://broker.example", "required", "skipped"),
        ("redis://127.0.0.1:6379/0", "required", "failed"),
        ("redis://[::1]", "preferred", "warning"),
        ("rediss://localhost", "preferred", "warning"),
        ("unix:///run/valkey.sock", "required", "failed"),
    ],
)
async def test_a_doctor_says_whether_decoders_on_its_machine_can_be_sealed(
    broker: str, seal: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(broker_url=SecretStr(broker), decoder_seal=seal)
    examination = cast(Examination, SimpleNamespace(settings=settings))
    healthy = await check_seal(examination)
    assert healthy.status == ("skipped" if status == "skipped" else "ok")
    monkeypatch.setattr(sys, "executable", python_that_cannot_seal(tmp_path, "no library"))
    verdict = await check_seal(examination)
    assert verdict.status == status
    if status != "skipped":
        assert verdict.mend is not None
        assert verdict.mend.startswith("install libseccomp 2")
