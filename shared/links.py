"""Signed addresses of originals and thumbnails, as clients see them."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime

from shared.settings import Settings


class Links:
    """Makes and checks the addresses at which originals and thumbnails are served."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.files_public
        self._base = settings.files_url or settings.api_url
        secrets = (settings.files_secret, settings.files_secret_previous)
        # The first signs, all are accepted.
        self._secrets = [
            each.get_secret_value().encode(errors="surrogateescape") for each in secrets if each
        ] or [b""]
        self._ttl_s = settings.files_ttl

    def base(self, origin: str) -> str:
        """Give the files base URL; by default it is the API itself, at `origin`.

        An empty `origin` makes addresses relative to the host that the client asked.
        """
        return self._base or origin

    def url(self, key: str, changed_at: datetime | None, now: datetime, origin: str) -> str:
        """Give the address of a key; before anything has been uploaded, without a query."""
        if changed_at is None:
            return f"{self.base(origin)}/{key}"
        stamp = str(int(changed_at.timestamp()))
        if self._public:
            return f"{self.base(origin)}/{key}?{stamp}"
        if self._ttl_s is None:
            return f"{self.base(origin)}/{key}?{stamp}&s={self.sign(key, stamp, '')}"
        # Ends on a multiple of the lifetime, so that a browser can cache it for a while.
        ends = str((int(now.timestamp()) // self._ttl_s + 2) * self._ttl_s)
        return f"{self.base(origin)}/{key}?{stamp}&e={ends}&s={self.sign(key, stamp, ends)}"

    def sign(self, key: str, stamp: str, ends: str) -> str:
        """Sign a key, its time stamp and its end: 144 bits of HMAC-SHA256, URL-safe."""
        return _signature(self._secrets[0], key, stamp, ends).decode()

    def admits(self, key: str, stamp: str, ends: str, signature: str, now: datetime) -> bool:
        """Whether a signature is of a live secret and has not ended; in constant time."""
        given = signature.encode("utf-8", "replace")
        genuine = False
        for secret in self._secrets:  # all of them, so that the time does not tell which one it was
            genuine |= hmac.compare_digest(_signature(secret, key, stamp, ends), given)
        if not genuine:
            return False
        return not ends or now.timestamp() < int(ends)


def _signature(secret: bytes, key: str, stamp: str, ends: str) -> bytes:
    mac = hmac.digest(secret, f"{key}\n{stamp}\n{ends}".encode(), hashlib.sha256)
    return urlsafe_b64encode(mac[:18])
