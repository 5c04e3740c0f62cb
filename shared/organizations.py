"""Organizations and their tokens: the records, and the statements that operators' commands run."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection, Row

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored; the secret itself is not."""

    id: int
    organization_id: int
    person_id: int | None
    name: str
    created_at: datetime
    revoked_at: datetime | None

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


async def create_token(
    connection: Connection,
    organization_id: int,
    name: str,
    person_id: int | None = None,
    token: str | None = None,
) -> str:
    """Store a token of an organization and return it in plain; it cannot be read again later.

    A given token may be stored repeatedly; where it was revoked it stays so. Raises
    asyncpg.ForeignKeyViolationError if there is no such organization.
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


async def list_tokens(connection: Connection, organization_id: int) -> list[Token]:
    """Return all tokens of an organization, revoked ones too, oldest first."""
    rows = await connection.fetch(
        """
        SELECT id, organization_id, person_id, name, created_at, revoked_at
        FROM tokens WHERE organization_id = $1 ORDER BY id
        """,
        organization_id,
    )
    return [Token.from_row(row) for row in rows]


async def revoke_token(connection: Connection, token_id: int) -> bool:
    """Revoke a token; returns whether there was such a token, not revoked yet."""
    revoked = await connection.fetchval(
        "UPDATE tokens SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id",
        token_id,
    )
    return revoked is not None


async def is_revoked(connection: Connection, token: str) -> bool:
    """Tell whether a token, given in plain, was revoked."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM tokens WHERE digest = $1 AND revoked_at IS NOT NULL)",
        digest(token),
    )
    return found
