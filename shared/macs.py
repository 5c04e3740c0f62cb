"""HMAC-SHA256 with one secret for many messages, faster than the standard library's."""

import hashlib

_BLOCK_BYTES = 64


class Mac:
    """Signs messages with one secret (RFC 2104, with SHA-256).

    The two hash states of the secret are computed once and copied for each message. With
    `hmac.digest`, OpenSSL 3 would look up the algorithm for each message, which takes three times
    as long as a copy.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK_BYTES:
            secret = hashlib.sha256(secret).digest()
        padded = secret.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(self, message: bytes) -> bytes:
        """Return the signature of a message, 32 bytes."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()
