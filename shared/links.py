"""Signed addresses of originals and thumbnails for clients."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime

from shared.settings import Settings


class Links:
    """Builds and checks the addresses of originals and thumbnails."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.files_public
        self._base = settings.files_url or settings.api_url
        secrets = (settings.files_secret, settings.files_secret_previous)
        # The first secret signs; a signature of any of them is accepted.
        self._secrets = [
            each.get_secret_value().encode(errors="surrogateescape") for each in secrets if each
        ] or [b""]
        self._ttl_s = settings.files_ttl

    def base(self, origin: str) -> str:
        """Return the base URL of files; by default it is the API itself, at `origin`.

        An empty `origin` makes addresses relative to the host of the client's request.
        """
        return self._base or origin

    def url(self, key: str, changed_at: datetime | None, now: datetime, origin: str) -> str:
        """Return the address of a key; if `changed_at` is None (no upload yet), without a query."""
        if changed_at is None:
            return f"{self.base(origin)}/{key}"
        stamp = str(int(changed_at.timestamp()))
        if self._public:
            return f"{self.base(origin)}/{key}?{stamp}"
        if self._ttl_s is None:
            return f"{self.base(origin)}/{key}?{stamp}&s={self.sign(key, stamp, '')}"
        # The end is a multiple of the lifetime, so the address stays the same for a while and a
        # browser can cache it.
        ends = str((int(now.timestamp()) // self._ttl_s + 2) * self._ttl_s)
        return f"{self.base(origin)}/{key}?{stamp}&e={ends}&s={self.sign(key, stamp, ends)}"

    def sign(self, key: str, stamp: str, ends: str) -> str:
        """Sign a key, its stamp and its end (Unix times): 144 bits of HMAC-SHA256, URL-safe."""
        return _signature(self._secrets[0], key, stamp, ends).decode()

    def admits(self, key: str, stamp: str, ends: str, signature: str, now: datetime) -> bool:
        """Return whether a signature is of a current secret and has not ended; in constant time."""
        given = signature.encode("utf-8", "replace")
        genuine = False
        for secret in self._secrets:  # all of them, so that the time does not show which one fits
            genuine |= hmac.compare_digest(_signature(secret, key, stamp, ends), given)
        if not genuine:
            return False
        return not ends or now.timestamp() < int(ends)


def _signature(secret: bytes, key: str, stamp: str, ends: str) -> bytes:
    mac = hmac.digest(secret, f"{key}\n{stamp}\n{ends}".encode(), hashlib.sha256)
    return urlsafe_b64encode(mac[:18])
