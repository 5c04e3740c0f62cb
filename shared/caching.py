"""Values of the Cache-Control header of stored objects (RFC 9111, RFC 8246)."""

from typing import Final

PRIVATE_FILE: Final = "private, max-age=31536000"
"""The value for thumbnails in the private mode. Clients do not get this value: they read thumbnails
at signed addresses, which make the store answer with another Cache-Control."""

PUBLIC_FILE: Final = "public, max-age=86400, immutable"
"""The value for all objects in the public mode, in which clients read the store without a
signature. An address with a stamp always has the same bytes, so a cache need not revalidate them.
The limit is one day, because a cache may still show a file for that long after the store has
removed it."""
