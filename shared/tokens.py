"""API tokens: the records, and the SQL statements that find, create and revoke tokens."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from shared.database import Connection
from shared.rows import FromRow

TOKEN_BYTES = 32

CHANNEL = "attachments_tokens"
"""The PostgreSQL channel on which triggers notify processes that tokens have changed."""

Scope = Literal["read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""The scopes of tokens. Each scope includes those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(FromRow):
    """A row of `tokens`, without the digest of the token's secret."""

    id: int
    organization_id: int
    person_id: int | None
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_by: str | None
    revoked_by: str | None
    rate_limit: int | None


def digest(token: str) -> bytes:
    """Return the SHA-256 of a token. A slow hash is not needed for a secret of 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def create_token(
    connection: Connection,
    organization_id: int,
    name: str,
    person_id: int | None = None,
    token: str | None = None,
) -> str:
    """Store a token that never expires and has every scope. Return its secret.

    The secret cannot be read later. If `token` is given, it is the secret, and the call may be
    repeated; a revoked token stays revoked. Raises asyncpg.ForeignKeyViolationError if there is no
    such organization.
    """
    plain = token or secrets.token_hex(TOKEN_BYTES)
    await connection.execute(
        """
        INSERT INTO tokens (organization_id, person_id, name, digest) VALUES ($1, $2, $3, $4)
        ON CONFLICT (digest) DO NOTHING
        """,
        organization_id,
        person_id,
        name,
        digest(plain),
    )
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued(FromRow):
    """A token that was just created. Its secret, `plain`, cannot be read later."""

    id: int
    plain: str
    scope: Scope
    expires_at: datetime | None
    rate_limit: int | None = None


async def issue_token(
    connection: Connection,
    organization_id: int,
    name: str,
    *,
    person_id: int | None = None,
    scope: Scope = SCOPES[-1],
    expires: datetime | timedelta | None = None,
    rate_limit: int | None = None,
    by: str | None = None,
) -> Issued:
    """Create a token with a scope and an expiry. Its secret cannot be read later.

    `expires` is a time, or a duration from now by the database's clock. `rate_limit` is in requests
    per second, in addition to the limit of the organization. `by` is the name of the operator who
    creates the token; it is stored. Raises asyncpg.ForeignKeyViolationError if there is no such
    organization.
    """
    plain = secrets.token_hex(TOKEN_BYTES)
    moment = expires if isinstance(expires, datetime) else None
    lifetime = expires if isinstance(expires, timedelta) else None
    row = await connection.fetchrow(
        """
        INSERT INTO tokens
            (organization_id, person_id, name, digest, scope, expires_at, created_by, rate_limit)
        VALUES ($1, $2, $3, $4, $5, coalesce($6::timestamptz, now() + $7::interval), $8, $9)
        RETURNING id, scope, expires_at, rate_limit
        """,
        organization_id,
        person_id,
        name,
        digest(plain),
        scope,
        moment,
        lifetime,
        by,
        rate_limit,
    )
    assert row is not None
    return Issued.from_row(row, plain=plain)


async def list_tokens(connection: Connection, organization_id: int) -> list[Token]:
    """List all tokens of an organization, oldest first, also revoked and expired ones."""
    rows = await connection.fetch(
        """
        SELECT id, organization_id, person_id, name, scope,
               created_at, expires_at, last_used_at, revoked_at, created_by, revoked_by,
               rate_limit
        FROM tokens WHERE organization_id = $1 ORDER BY id
        """,
        organization_id,
    )
    return [Token.from_row(row) for row in rows]


async def revoke_token(
    connection: Connection, token_id: int, *, by: str | None = None
) -> int | None:
    """Revoke a token. Return its organization, or None if it is missing or already revoked.

    `by` is the name of the operator who revokes the token; it is stored.
    """
    organization_id: int | None = await connection.fetchval(
        """
        UPDATE tokens SET revoked_at = now(), revoked_by = $2
        WHERE id = $1 AND revoked_at IS NULL RETURNING organization_id
        """,
        token_id,
        by,
    )
    return organization_id


async def has_ended(connection: Connection, token: str) -> bool:
    """Return whether the token with this secret was revoked or has expired."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM tokens
            WHERE digest = $1 AND (revoked_at IS NOT NULL OR expires_at <= now())
        )
        """,
        digest(token),
    )
    return found


async def record_use(connection: Connection, ages_s: Mapping[int, float]) -> None:
    """Record when tokens were last used. `ages_s` has the seconds since the last use, by token id.

    A row that another process is writing is skipped, because that process writes nearly the same
    time. So no statement waits or deadlocks. May be repeated.
    """
    await connection.execute(
        """
        WITH used AS (
            SELECT id, now() - age_s * interval '1 second' AS at
            FROM unnest($1::bigint[], $2::float8[]) AS given (id, age_s)
        ), free AS (
            SELECT tokens.id FROM tokens WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE tokens SET last_used_at = used.at
        FROM used JOIN free USING (id)
        WHERE tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)
        """,
        list(ages_s),
        list(ages_s.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller(FromRow):
    """The token of a request, with its organization, its scope, and its person if it has one.

    `limited` is true if the organization has its own quotas. `quota_bytes` is the organization's
    quota, or None if the setting applies. `rate_limit` is the token's limit, in requests per
    second.
    """

    token_id: int
    organization_id: int
    person_id: int | None
    scope: Scope
    limited: bool = False
    quota_bytes: int | None = None
    rate_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(FromRow):
    """The caller whose token was found, and the seconds until the token expires (None: never)."""

    caller: Caller
    seconds_left: float | None


async def find_caller(connection: Connection, token_digest: bytes) -> Found | None:
    """Find a token by its digest. Returns None if it is unknown, revoked or expired.

    The database's clock decides whether the token has expired.
    """
    row = await connection.fetchrow(
        """
        SELECT t.id AS token_id, t.organization_id, t.person_id, t.scope, t.rate_limit,
               extract(epoch FROM t.expires_at - now())::float8 AS seconds_left,
               (o.quota_attachments >= 0 OR o.quota_bytes >= 0
                OR o.quota_uploads_per_day >= 0) IS TRUE AS limited,
               o.quota_bytes
        FROM tokens AS t JOIN organizations AS o ON o.id = t.organization_id
        WHERE t.digest = $1 AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > now())
        """,
        token_digest,
    )
    if row is None:
        return None
    return Found.from_row(row, caller=Caller.from_row(row))


async def notify(connection: Connection, channel: str) -> None:
    """Send a notification without payload on a PostgreSQL channel."""
    await connection.execute("SELECT pg_notify($1, '')", channel)
