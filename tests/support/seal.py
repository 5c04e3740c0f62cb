"""Tools for tests of the seal, which is a decoder's filter of system calls.

They read a process's status from the kernel, make a Python that cannot load the filter, and run
code that makes system calls.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def status_of(pid: int | str) -> dict[str, str]:
    """Return the fields of /proc/PID/status by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (x.partition(":") for x in lines)}


NO_CAPABILITY = "0" * 16
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
REFUSING = """
import ctypes, os, sys
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(seccomp.seccomp_init(0x7FFF0000))
number = seccomp.seccomp_syscall_resolve_name
seccomp.seccomp_rule_add(rules, 0x00050001, number(b"seccomp"), 0)
seccomp.seccomp_rule_add(rules, 0x00050001, number(b"prctl"), 0)
assert seccomp.seccomp_load(rules) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A program that starts another program, which cannot load a filter of system calls.

The kernel refuses the filter, as it does in some containers.
"""


def python_that_cannot_seal(folder: Path, obstacle: str) -> str:
    """Write a program that runs a Python which cannot load the decoder's filter.

    Depending on `obstacle`, libseccomp cannot be loaded, or the kernel refuses the filter.
    """
    if obstacle == "no library":
        # The dynamic loader finds this empty file first, and fails to load it as a library.
        (folder / "libseccomp.so.2").touch()
        words = f"export LD_LIBRARY_PATH={folder}; exec {sys.executable} "
    else:
        (folder / "refusing.py").write_text(REFUSING)
        words = f"exec {sys.executable} {folder}/refusing.py {sys.executable} "
    program = folder / "python"
    program.write_text(f'#!/bin/sh\n{words}"$@"\n')
    program.chmod(0o755)
    return str(program)


ROOT = Path(__file__).parents[2]
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


def run_with_system_calls(code: str, *arguments: str) -> Any:
    """Run code in a separate process, and return the JSON that the code prints."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING.format(root=str(ROOT)) + code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)
