"""The Cache-Control of the objects that the store serves (RFC 9111, RFC 8246)."""

from typing import Final

PRIVATE_FILE: Final = "private, max-age=31536000"
"""For thumbnails at signed addresses. A signed address overrides this value in each answer."""

PUBLIC_FILE: Final = "public, max-age=86400, immutable"
"""For all objects in the public mode. An address with its stamp always has the same bytes, so a
cache need not revalidate. The limit is one day, because a cache may show a file for that time after
it was removed from the store."""
