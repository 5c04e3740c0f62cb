"""Encrypts the secrets of webhooks with keys of the settings, before the secrets are stored."""

import hashlib
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import AttachmentsError


class SecretUnreadable(AttachmentsError):
    """A stored secret was encrypted with a key that the settings do not have."""


class Vault:
    """Encrypts with the first of `keys`, and decrypts with any. The settings list the keys.

    `key_id` identifies the first key and is no secret. If a row has another `key_id`, its secrets
    must be encrypted again.
    """

    def __init__(self, *keys: str) -> None:
        derived = [_derive(key) for key in keys]
        self._fernets = [Fernet(each) for each in derived]
        self.key_id = hashlib.sha256(b"key id:" + derived[0]).hexdigest()[:16]

    def encrypt(self, secret: str) -> bytes:
        """Encrypt and authenticate a secret. Each call returns other bytes."""
        return self._fernets[0].encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """Decrypt what `encrypt` returned. Raises SecretUnreadable if no key decrypts it."""
        for fernet in self._fernets:
            try:
                return fernet.decrypt(stored).decode()
            except InvalidToken:
                continue
        raise SecretUnreadable("no key of the settings decrypts the webhook's secret")


def _derive(key: str) -> bytes:
    # HKDF makes the 32 bytes that Fernet needs from a random text of any length.
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"attachments webhook secrets")
    return urlsafe_b64encode(hkdf.derive(key.encode(errors="surrogateescape")))
