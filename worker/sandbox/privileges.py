"""Drop root and the capabilities of this process, so that it cannot get them back (Linux)."""

import ctypes
import os
import signal
import sys
from typing import Final

BOX_USER: Final = 61_000
"""User and group id of decoders. It belongs to no user: systemd's table of ids (UIDS-GIDS) leaves
60706 to 61183 unused. The id of nobody, 65534, is not used, because other processes with that id
could send signals to decoders."""

# constants of <linux/prctl.h>
_SET_PDEATHSIG: Final = 1
_SET_DUMPABLE: Final = 4
_CAPBSET_READ: Final = 23
_CAPBSET_DROP: Final = 24
_SET_NO_NEW_PRIVS: Final = 38
_CAP_AMBIENT: Final = 47
_CAP_AMBIENT_CLEAR_ALL: Final = 4

# constants of <linux/capability.h>
_VERSION_3: Final = 0x20080522
_CAP_KILL: Final = 5
_CAP_SETGID: Final = 6
_CAP_SETUID: Final = 7
_NEEDED: Final = 1 << _CAP_KILL | 1 << _CAP_SETGID | 1 << _CAP_SETUID


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """The kernel's `__user_cap_data_struct`: 32 of the 64 capabilities, in three sets."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def forbid_gain() -> None:
    """Prevent this process and its children from gaining a privilege by exec.

    `drop` calls this. A fork server calls it before it forks, so that its children need not drop
    each capability of the bounding set, which takes over a millisecond. Never raises. Cannot be
    undone, and may be repeated.
    """
    if _LIBC is None:
        return
    _prctl(_SET_NO_NEW_PRIVS, 1)
    capability = 0
    # `_prctl` fails with EINVAL after the kernel's last capability
    while (held := _prctl(_CAPBSET_READ, capability)) >= 0:
        if held:
            _prctl(_CAPBSET_DROP, capability)  # without CAP_SETPCAP, this fails with EPERM
        capability += 1


def drop() -> None:
    """Become BOX_USER, without groups and capabilities, if this process is root.

    A process that is not root only loses its capabilities. In both cases, the process cannot gain
    capabilities by exec, and it writes no core dump, which would contain a client's file. Steps
    that the system does not permit are skipped. Never raises. Cannot be undone, and may be
    repeated.

    The user changes only if the worker can still kill this process afterwards (CAP_KILL). The
    worker and the decoder have the same capabilities, so this process checks its own. Call this
    while there is only one thread: glibc changes the user of all threads, but prctl and capset
    change only the calling thread.
    """
    if _LIBC is None:
        return
    forbid_gain()
    if os.geteuid() == 0 and _effective() & _NEEDED == _NEEDED:
        _become_box_user()
    _prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    _LIBC.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref((_Half * 2)()))
    _prctl(_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux).

    Call this after `drop`, because the kernel clears the setting when a process changes its user.
    """
    if _LIBC is not None:
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> int:
    assert _LIBC is not None
    zero = ctypes.c_ulong(0)
    result: int = _LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    return result


def _effective() -> int:
    """Return the effective capabilities of this process as a bit mask; 0 if they cannot be read."""
    assert _LIBC is not None
    halves = (_Half * 2)()
    if _LIBC.capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(halves)) != 0:
        return 0
    low, high = (int(half.effective) for half in halves)
    return high << 32 | low


def _become_box_user() -> None:
    try:
        # Change the user last: only root can change groups.
        os.setgroups([])
        os.setresgid(BOX_USER, BOX_USER, BOX_USER)
        os.setresuid(BOX_USER, BOX_USER, BOX_USER)
    except OSError:  # the cause may be a user namespace that does not map this id
        return
