"""What the store tells caches of the objects that it serves (RFC 9111, RFC 8246)."""

from typing import Final

PRIVATE_FILE: Final = "private, max-age=31536000"
"""Of thumbnails that are opened by signed addresses, which say something else each time."""

PUBLIC_FILE: Final = "public, max-age=86400, immutable"
"""Of all objects in the public mode. An address with its stamp never gets other bytes, so nobody
needs to ask again. A day: so long may a cache show a file that was removed from the store."""
