"""A sealed process cannot find out whether a path exists."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.seal import run_with_system_calls
from worker.sandbox.seccomp import ALLOWED, RESTRICTED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="system calls of Linux"),
    pytest.mark.usefixtures("ended_decoders"),
]

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
REVEALING_CALLS = """
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
def test_no_system_call_reveals_if_a_path_exists(
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
    found = run_with_system_calls(REVEALING_CALLS, json.dumps(names), json.dumps(paths), place)
    # Some of these system calls may be missing in this kernel or on this architecture. So the test
    # does not require all of them.
    assert len(found) > len(names) / 2
    for name, answers in found.items():
        # The result -1 with the error number 1 is EPERM (not permitted).
        assert answers == [[-1, 1]] * len(paths), name
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
    # The results of these calls depend only on the process, not on a path.
    varying = {"brk", "getpid", "gettid"}
    found = run_with_system_calls(
        ALLOWED_ONES,
        str(there),
        str(tmp_path / "file-b"),
        json.dumps([name for name in names if name not in varying]),
    )
    for name, answers in found.items():
        of_there = [answer for exists, *answer in answers if exists]
        of_absent = [answer for exists, *answer in answers if not exists]
        assert of_there == of_absent, name
