"""A sealed process gets no information about other processes, and its user has no privileges."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.seal import NO_CAPABILITY, SETS, run_with_system_calls, status_of
from worker.decoding.formats import Box
from worker.decoding.process import Decoder
from worker.sandbox.privileges import BOX_USER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux"),
    pytest.mark.usefixtures("ended_decoders"),
]
AS_ROOT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can give root up"
)
# --- other limits of a sealed process ------------------------------------------------------------

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
    assert run_with_system_calls(ATTEMPTS, str(tmp_path)) == {
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


# --- the user and the privileges of a sealed process --------------------------------------------


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
        # The process is not dumpable, so root owns its files in /proc. Another process of the same
        # user cannot read them.
        assert owner.st_uid == 0
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
    status = run_with_system_calls(DROPPING.format(before=WITHOUT.format(capability=capability)))
    assert status["Uid"] == "0 0 0 0"
    assert {name: status[name] for name in SETS} == dict.fromkeys(SETS, NO_CAPABILITY)


def test_one_that_is_not_root_goes_on_as_it_is() -> None:
    before = "if os.geteuid() == 0: os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(2, 2, 2)"
    status = run_with_system_calls(DROPPING.format(before=before))
    user = "2 2 2 2" if os.geteuid() == 0 else " ".join([str(os.geteuid())] * 4)
    assert status["Uid"] == user
    assert status["CapEff"] == status["CapPrm"] == NO_CAPABILITY
    assert status["NoNewPrivs"] == "1"
