"""Secrets, signatures and message ids of webhooks, as Standard Webhooks defines them."""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from shared.macs import Mac

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - no secret: the beginning of every secret

SECRET_BYTES: Final = 32
"""The length of a new secret. Standard Webhooks allows 24 to 64 bytes."""


def make_secret() -> str:
    """Return a secret of 256 random bits in the form in which a client gets it: `whsec_…`."""
    return f"{SECRET_PREFIX}{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def written_id(message_id: UUID) -> str:
    """Return the value of the `webhook-id` header. It is the same for all attempts of an event."""
    return f"msg_{message_id.hex}"


def signer_of(secret: str) -> Mac:
    """Return the signer of a secret in the form `whsec_…`. It may be kept for many deliveries."""
    return Mac(b64decode(secret.removeprefix(SECRET_PREFIX)))


def signed_headers(
    signers: Sequence[Mac], *, message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a delivery: its id, its time, and a signature with each live secret.

    A signature is HMAC-SHA256 over id, Unix time and body, joined by dots (Standard Webhooks,
    "Signature scheme").
    """
    content = f"{message_id}.{timestamp_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(
            f"v1,{b64encode(each.digest(content)).decode()}" for each in signers
        ),
    }
