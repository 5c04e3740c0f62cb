"""What a file is, by its first bytes: libmagic names it, whatever client, name or store say."""

from typing import Final

import magic
import pylibmagic  # noqa: F401 - makes the bundled libmagic the one that `magic` finds

SNIFFED_BYTES: Final = 64 * 1024

DECODED: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Types of which thumbnails are made; nothing else is ever given to a decoder."""

# libmagic's names → the registered ones, or those that browsers use
_NAMES: Final = {
    "application/x-empty": "application/octet-stream",
    "inode/x-empty": "application/octet-stream",
    "image/svg": "image/svg+xml",
    "application/x-gzip": "application/gzip",
    "audio/x-wav": "audio/wav",
    "text/x-html": "text/html",
}

_magic = magic.Magic(mime=True)


def sniff(head: bytes) -> str:
    """Name the content type of a file that begins with `head`; 64 KiB of it are looked at.

    Takes some tens of microseconds. Never raises for what the bytes are.
    """
    if not head:
        return "application/octet-stream"
    try:
        name = _magic.from_buffer(head[:SNIFFED_BYTES])
    except magic.MagicException:
        return "application/octet-stream"
    name = name.partition(";")[0].strip().lower()
    if "/" not in name or not name.isascii() or not name.isprintable():
        return "application/octet-stream"
    return _NAMES.get(name, name)
