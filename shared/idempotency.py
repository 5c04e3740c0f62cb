"""Carry out a request once for each Idempotency-Key, even if a client sends the request again.

For 24 hours the key is stored with the ids of the objects that the request made. The key is written
in the transaction of the request's own changes. So after a crash, either the key and the changes
exist, or neither of them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

from shared.database import Connection, affected
from shared.errors import AttachmentsError
from shared.rows import FromRow

T = TypeVar("T")

KEPT: Final = "24 hours"

REMOVED_AT_ONCE: Final = 5000
"""One DELETE of `prune` removes at most this many keys."""


class KeyReused(AttachmentsError):
    """The key was used for a request with another method, path or body."""


class KeyInUse(AttachmentsError):
    """Another request with the same key is being answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """A client's Idempotency-Key.

    `digest` is the SHA-256 of the key, and `fingerprint` is the SHA-256 of the request.
    """

    organization_id: int
    digest: bytes
    fingerprint: bytes

    @property
    def lock(self) -> int:
        """The number of the PostgreSQL advisory lock that all requests with this key take."""
        named = sha256(b"%d " % self.organization_id + self.digest).digest()
        return int.from_bytes(named[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated(FromRow):
    """The stored result of an earlier request. `made` are the ids of the objects that it made.

    `fingerprint` is the SHA-256 of that request.
    """

    fingerprint: bytes
    made: list[int]


async def find_made(connection: Connection, key: RequestKey) -> Repeated | None:
    """Return the record of the first request with a key, or None if the key is new.

    Raises KeyReused if the first request had another fingerprint.
    """
    row = await connection.fetchrow(
        "SELECT k.fingerprint, k.made FROM idempotency_keys AS k WHERE k.organization_id = $1"
        f" AND k.digest = $2 AND k.created_at > now() - interval '{KEPT}'",
        key.organization_id,
        key.digest,
    )
    if row is None:
        return None
    repeated = Repeated.from_row(row)
    if repeated.fingerprint != key.fingerprint:
        raise KeyReused
    return repeated


async def once(
    connection: Connection,
    key: RequestKey,
    make: Callable[[Connection], Awaitable[T]],
    ids_of: Callable[[T], list[int] | None],
) -> T | Repeated:
    """Run `make` and store the ids of its result with the key, in one transaction.

    If `ids_of` returns None, the request is not complete yet, and the key is not stored.

    Returns Repeated without running `make` if the key is stored already. Raises KeyInUse if another
    transaction is using the key, KeyReused if a different request used the key, and the errors of
    `make`. After an error, nothing has changed. May be repeated.
    """
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", key.lock):
            raise KeyInUse
        if (known := await find_made(connection, key)) is not None:
            return known
        result = await make(connection)
        if (ids := ids_of(result)) is None:
            return result
        await connection.execute(
            """
            INSERT INTO idempotency_keys AS k (organization_id, digest, fingerprint, made)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (organization_id, digest) DO UPDATE  -- a key that is too old to count
            SET fingerprint = excluded.fingerprint, made = excluded.made, created_at = now()
            """,
            key.organization_id,
            key.digest,
            key.fingerprint,
            ids,
        )
        return result


async def prune(connection: Connection) -> int:
    """Remove up to REMOVED_AT_ONCE keys that are older than KEPT, and return how many."""
    status = await connection.execute(
        f"""
        DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
            SELECT k.ctid FROM idempotency_keys AS k
            WHERE k.created_at < now() - interval '{KEPT}'
            ORDER BY k.created_at LIMIT {REMOVED_AT_ONCE}))
        """
    )
    return affected(status)
