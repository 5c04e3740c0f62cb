"""Check whether decoders can be sealed (by a seccomp filter) on this machine."""

import subprocess
import sys
from typing import Final

from shared.errors import SettingsError
from shared.settings import Seal
from worker.sandbox.seccomp import NO_FILTER, NO_LIBRARY

TIMEOUT_S: Final = 30.0

_OBSTACLES: Final = {
    NO_LIBRARY: (
        "libseccomp.so.2 cannot be loaded: install libseccomp 2"
        " (Debian and Ubuntu: libseccomp2; Fedora: libseccomp)"
    ),
    NO_FILTER: (
        "the kernel refuses the filter: allow the system calls seccomp and prctl"
        " in the security profile of the container or service"
    ),
}


def find_obstacle() -> str | None:
    """Return why decoders cannot be sealed here, and the remedy; None if they can be sealed.

    Starts a process that seals itself, with an empty environment as decoders have. Blocks for some
    tens of milliseconds, at most TIMEOUT_S. May be repeated.
    """
    if sys.platform != "linux":
        return "system calls are filtered on Linux only"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "worker.sandbox.seccomp"],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a process that tries it does not start ({type(error).__name__})"
    if done.returncode == 0:
        return None
    return _OBSTACLES.get(
        done.returncode, f"a process that tries it ends with status {done.returncode}"
    )


def check_seal(seal: Seal) -> None:
    """Check that decoders can be sealed if `seal` is `required`. Raises SettingsError if not."""
    if seal == "required" and (obstacle := find_obstacle()) is not None:
        raise SettingsError(
            f"ATTACHMENTS_DECODER_SEAL: is required, but decoders cannot be sealed here: {obstacle}"
        )
