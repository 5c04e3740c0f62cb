"""Encrypts the secrets of webhooks before they are stored, by a key of the settings."""

import hashlib
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import AttachmentsError


class SecretUnreadable(AttachmentsError):
    """A stored secret was encrypted by a key that the settings do not have."""


class Vault:
    """Encrypts by the first key and decrypts by any; `keys` are the texts of the settings.

    `key_id` names the first key and is no secret: a row with another id should be encrypted again.
    """

    def __init__(self, *keys: str) -> None:
        derived = [_derive(key) for key in keys]
        self._fernets = [Fernet(each) for each in derived]
        self.key_id = hashlib.sha256(b"key id:" + derived[0]).hexdigest()[:16]

    def encrypt(self, secret: str) -> bytes:
        """Encrypt and authenticate a secret; each call returns other bytes."""
        return self._fernets[0].encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """Decrypt what `encrypt` returned. Raises SecretUnreadable if no key fits."""
        for fernet in self._fernets:
            try:
                return fernet.decrypt(stored).decode()
            except InvalidToken:
                continue
        raise SecretUnreadable("no key of the settings decrypts the webhook's secret")


def _derive(key: str) -> bytes:
    # HKDF, because the setting is a random text of any length and Fernet needs 32 bytes.
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"attachments webhook secrets")
    return urlsafe_b64encode(hkdf.derive(key.encode(errors="surrogateescape")))
