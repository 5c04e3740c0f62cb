"""The decoders' memory allocator keeps freed memory instead of returning it to the kernel."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from worker.decoding import heap
if sys.argv[1] == "kept":
    heap.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def use(size):
    places = [libc.malloc(size) for _ in range(4)]
    for at in places:
        libc.memset(at, 1, size)
    for at in places:
        libc.free(at)
use(24 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use(24 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    pages = 5 * 4 * (24 << 20) // 4096
    if faults("plain") < pages // 2:
        pytest.skip("this C library keeps freed memory by itself")
    assert faults("kept") < pages // 100


def faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
