"""Organizations and their tokens: the records, and the statements that operators' commands run."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.database import Connection, Row
from shared.errors import AttachmentsError

NAMES_LOCK_KEY = 7_236_013_484  # any number that no one else locks in this database

TOKEN_BYTES = 32
SCOPES = ("read", "write", "admin")
"""What a token may do; each scope includes those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored; the secret itself is not."""

    id: int
    organization_id: int
    person_id: int | None
    name: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_by: str | None
    revoked_by: str | None

    @classmethod
    def from_row(cls, row: Row) -> "Token":
        """Make a record of a row with the columns of the same names."""
        return cls(**{name: row[name] for name in cls.__slots__})


def digest(token: str) -> bytes:
    """Give what is stored of a token: 256 random bits need no slower hash than SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def create_organization(
    connection: Connection, name: str, organization_id: int | None = None
) -> int:
    """Create an organization and return its id.

    With a given id it may be repeated: one that exists already keeps its name. Ids handed out
    later are higher than any given one.
    """
    if organization_id is None:
        created: int = await connection.fetchval(
            "INSERT INTO organizations (name) VALUES ($1) RETURNING id", name
        )
        return created
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO organizations (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            organization_id, name,
        )  # fmt: skip
        await connection.execute(
            """
            SELECT setval(
                pg_get_serial_sequence('organizations', 'id'),
                GREATEST($1, (SELECT last_value FROM organizations_id_seq))
            )
            """,
            organization_id,
        )
    return organization_id


class NameTaken(AttachmentsError):
    """There is an organization of that name already."""

    def __init__(self, organization_id: int) -> None:
        super().__init__(organization_id)
        self.organization_id = organization_id


async def create_named(connection: Connection, name: str, *, force: bool = False) -> int:
    """Create an organization and return its id.

    Without `force` no two get the same name: raises NameTaken, also for one that another process
    is creating at the moment. Names of earlier ones may be the same.
    """
    async with connection.transaction():
        if not force:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", NAMES_LOCK_KEY)
            taken = await connection.fetchval(
                "SELECT o.id FROM organizations AS o WHERE o.name = $1 LIMIT 1", name
            )
            if taken is not None:
                raise NameTaken(taken)
        return await create_organization(connection, name)


async def exists(connection: Connection, organization_id: int) -> bool:
    """Tell whether there is an organization with that id."""
    found = await connection.fetchval(
        "SELECT true FROM organizations AS o WHERE o.id = $1", organization_id
    )
    return found is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization as it is listed."""

    id: int
    name: str
    created_at: datetime


async def list_organizations(
    connection: Connection, *, after: int, limit: int
) -> list[Organization]:
    """List up to `limit` organizations with ids above `after`, ascending."""
    rows = await connection.fetch(
        "SELECT o.id, o.name, o.created_at FROM organizations AS o WHERE o.id > $1"
        " ORDER BY o.id LIMIT $2",
        after, limit,
    )  # fmt: skip
    return [Organization(**dict(row)) for row in rows]


async def create_token(
    connection: Connection,
    organization_id: int,
    name: str,
    person_id: int | None = None,
    token: str | None = None,
) -> str:
    """Store a token that never ends and may do everything, and return it in plain.

    It cannot be read again later. A given token may be stored repeatedly; where it was revoked it
    stays so. Raises asyncpg.ForeignKeyViolationError if there is no such organization.
    """
    plain = token or secrets.token_hex(TOKEN_BYTES)
    await connection.execute(
        """
        INSERT INTO tokens (organization_id, person_id, name, digest) VALUES ($1, $2, $3, $4)
        ON CONFLICT (digest) DO NOTHING
        """,
        organization_id, person_id, name, digest(plain),
    )  # fmt: skip
    return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token that was just made: the only time that its secret is known."""

    id: int
    plain: str
    scope: str
    expires_at: datetime | None


async def issue_token(
    connection: Connection,
    organization_id: int,
    name: str,
    *,
    person_id: int | None = None,
    scope: str = SCOPES[-1],
    expires: datetime | timedelta | None = None,
    by: str | None = None,
) -> Issued:
    """Make a token with a scope and an end, and return it in plain; it cannot be read again later.

    `by` is who makes it, for the record. A timedelta counts from now by the database's clock.
    Raises asyncpg.ForeignKeyViolationError if there is no such organization.
    """
    plain = secrets.token_hex(TOKEN_BYTES)
    moment = expires if isinstance(expires, datetime) else None
    lifetime = expires if isinstance(expires, timedelta) else None
    row = await connection.fetchrow(
        """
        INSERT INTO tokens
            (organization_id, person_id, name, digest, scope, expires_at, created_by)
        VALUES ($1, $2, $3, $4, $5, coalesce($6::timestamptz, now() + $7::interval), $8)
        RETURNING id, expires_at
        """,
        organization_id,
        person_id,
        name,
        digest(plain),
        scope,
        moment,
        lifetime,
        by,
    )
    assert row is not None
    return Issued(id=row["id"], plain=plain, scope=scope, expires_at=row["expires_at"])


async def list_tokens(connection: Connection, organization_id: int) -> list[Token]:
    """Return all tokens of an organization, revoked and expired ones too, oldest first."""
    rows = await connection.fetch(
        """
        SELECT id, organization_id, person_id, name, scope,
               created_at, expires_at, last_used_at, revoked_at, created_by, revoked_by
        FROM tokens WHERE organization_id = $1 ORDER BY id
        """,
        organization_id,
    )
    return [Token.from_row(row) for row in rows]


async def revoke_token(
    connection: Connection, token_id: int, *, by: str | None = None
) -> int | None:
    """Revoke a token; returns its organization, or None if there is no such live token.

    `by` is who revokes it, for the record.
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
    """Tell whether a token, given in plain, was revoked or has expired."""
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
    """Record when tokens were last used: by id, how many seconds ago. May be repeated.

    A row that another process writes at the moment is skipped: it gets about the same time, and
    nothing waits or deadlocks.
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
