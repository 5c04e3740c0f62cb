"""Call the libmagic that is bundled in a wheel, through ctypes.

The usual Python bindings load the machine's libmagic. Its version may differ from that of the
database, and libmagic cannot read a database of another version.
"""

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

_MIME_TYPE = 0x000010
_MIME_ENCODING = 0x000400
_NO_CHECK_COMPRESS = 0x001000  # do not look inside compressed data
_NO_CHECK_SOFT = 0x004000  # do not look for signatures: only the charset is needed


def _folder() -> Path:
    # Do not import the package, because its import changes search paths in the environment.
    spec = find_spec("pylibmagic")
    if spec is None or spec.origin is None:
        raise ImportError("libmagic is not installed: make install sets it up")
    return Path(spec.origin).parent


def _load() -> ctypes.CDLL:
    suffix = "dylib" if sys.platform == "darwin" else "so"
    library = ctypes.CDLL(str(_folder() / f"libmagic.{suffix}"))
    library.magic_open.argtypes = [ctypes.c_int]
    library.magic_open.restype = ctypes.c_void_p
    library.magic_load.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.magic_load.restype = ctypes.c_int
    library.magic_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.magic_buffer.restype = ctypes.c_char_p
    return library


def _open(flags: int) -> int:
    cookie: int | None = _library.magic_open(flags | _NO_CHECK_COMPRESS)
    if not cookie or _library.magic_load(cookie, os.fsencode(_folder() / "magic.mgc")) != 0:
        raise ImportError("libmagic cannot read its database")
    return cookie


_library = _load()
_types = _open(_MIME_TYPE)
_encodings = _open(_MIME_ENCODING | _NO_CHECK_SOFT)


def mime_type(data: bytes) -> str | None:
    """Return the MIME type of a file that begins with `data`; None if libmagic fails.

    Do not call it from two threads at the same time, because both would use the same libmagic
    handle.
    """
    found = _library.magic_buffer(_types, data, len(data))
    return found.decode("ascii", "replace") if found else None


def text_encoding(data: bytes) -> str | None:
    """Return the charset of a text that begins with `data`, or `binary` or `unknown-8bit`.

    Returns None if libmagic fails. As with `mime_type`, do not call it from two threads at the same
    time.
    """
    found = _library.magic_buffer(_encodings, data, len(data))
    return found.decode("ascii", "replace") if found else None
