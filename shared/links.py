"""Signed addresses for clients: of originals, of thumbnails, and of an attachment's status."""

import hmac
from base64 import urlsafe_b64encode
from datetime import datetime

from shared.macs import Mac
from shared.settings import Settings

STATUS_PATH = "attachments/status"
"""The beginning of the path of a status. No key of a file begins like this, so the signature of a
status is not valid for a file, and the signature of a file is not valid for a status."""


class Links:
    """Builds the signed addresses, and checks their signatures."""

    def __init__(self, settings: Settings) -> None:
        self._public = settings.files_public
        self._base = settings.files_url or settings.api_url
        secrets = (settings.files_secret, settings.files_secret_previous)
        # The first secret signs. A signature with any of them is accepted.
        given = [each.get_secret_value() for each in secrets if each] or [""]
        self._macs = [Mac(each.encode(errors="surrogateescape")) for each in given]
        self._is_secret = bool(given[0])
        # A text that changes with the signing secret, without revealing it; see `form`.
        self._mark = "" if self._public else self.sign("", "", "")
        self._ttl_s = settings.files_ttl

    def base(self, origin: str) -> str:
        """Return the base URL of files: the setting, or the API's own address `origin`.

        With an empty `origin`, addresses are relative to the host of the client's request.
        """
        return self._base or origin

    def url(self, key: str, changed_at: datetime | None, now: datetime, origin: str) -> str:
        """Return the address of a key. It has no query if `changed_at` is None (no upload yet)."""
        if changed_at is None:
            return f"{self.base(origin)}/{key}"
        stamp = str(int(changed_at.timestamp()))
        if self._public:
            return f"{self.base(origin)}/{key}?{stamp}"
        if self._ttl_s is None:
            return f"{self.base(origin)}/{key}?{stamp}&s={self.sign(key, stamp, '')}"
        # The time of expiry is a multiple of the lifetime. So the address stays the same for some
        # time, and a browser can cache the file.
        ends = str((int(now.timestamp()) // self._ttl_s + 2) * self._ttl_s)
        return f"{self.base(origin)}/{key}?{stamp}&e={ends}&s={self.sign(key, stamp, ends)}"

    def status_url(
        self, attachment_id: int, created_at: datetime, ends: datetime, origin: str
    ) -> str | None:
        """Return the address of an attachment's status, valid without a token until `ends`.

        The time of the row's creation is signed too, because another row may get the same id if the
        row is lost. Returns None if no secret is set: in the public mode, the secret is optional.
        """
        if not self._is_secret:
            return None
        path = f"{STATUS_PATH}/{attachment_id}"
        stamp, end = str(int(created_at.timestamp())), str(int(ends.timestamp()))
        return f"{origin}/{path}?{stamp}&e={end}&s={self.sign(path, stamp, end)}"

    def admits_status(
        self, attachment_id: int, stamp: str, ends: str, signature: str, now: datetime
    ) -> bool:
        """Return whether a signature is valid for the status of an attachment.

        `stamp` is the time of the attachment's creation.
        """
        path = f"{STATUS_PATH}/{attachment_id}"
        return self._is_secret and bool(ends) and self.admits(path, stamp, ends, signature, now)

    def form(self, now: datetime, origin: str, changed_at: datetime | None) -> str:
        """Return a text that changes when `url` would return another address for the same file.

        The text contains no secret.
        """
        window = None
        if changed_at is not None and self._ttl_s is not None and not self._public:
            window = int(now.timestamp()) // self._ttl_s
        return f"{self.base(origin)} {self._ttl_s} {window} {self._mark}"

    def sign(self, key: str, stamp: str, ends: str) -> str:
        """Return the signature of a key, `stamp` and `ends`, which are Unix times.

        The signature is 144 bits of HMAC-SHA256 in Base64.
        """
        return _signature(self._macs[0], key, stamp, ends).decode()

    def admits(self, key: str, stamp: str, ends: str, signature: str, now: datetime) -> bool:
        """Return whether one of the secrets made a signature, and the signature has not expired.

        The time that this takes does not depend on the signature.
        """
        given = signature.encode("utf-8", "replace")
        genuine = False
        # all MACs are checked, so that the time does not show which one matches
        for mac in self._macs:
            genuine |= hmac.compare_digest(_signature(mac, key, stamp, ends), given)
        if not genuine:
            return False
        return not ends or now.timestamp() < int(ends)


def _signature(mac: Mac, key: str, stamp: str, ends: str) -> bytes:
    return urlsafe_b64encode(mac.digest(f"{key}\n{stamp}\n{ends}".encode())[:18])
