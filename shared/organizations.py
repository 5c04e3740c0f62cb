"""Organizations: the record, and the SQL statements of the operator's commands."""

from dataclasses import dataclass
from datetime import datetime

from shared.database import Connection
from shared.errors import AttachmentsError
from shared.rows import FromRow

NAMES_LOCK_KEY = 7_236_013_484  # an arbitrary number that no other advisory lock uses


async def create_organization(
    connection: Connection, name: str, organization_id: int | None = None
) -> int:
    """Create an organization and return its id.

    With `organization_id`, the call may be repeated: an existing organization keeps its name. Later
    organizations get greater ids than any that was given here.
    """
    if organization_id is None:
        created: int = await connection.fetchval(
            "INSERT INTO organizations (name) VALUES ($1) RETURNING id", name
        )
        return created
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO organizations (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            organization_id,
            name,
        )
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
    """Another organization has that name already."""

    def __init__(self, organization_id: int) -> None:
        super().__init__(organization_id)
        self.organization_id = organization_id


async def create_named(connection: Connection, name: str, *, force: bool = False) -> int:
    """Create an organization whose name is not used yet, and return its id.

    Raises NameTaken if the name is used, even if another process is creating that organization now.
    With `force` the name is not checked, so organizations may share a name.
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
    """Return whether an organization with that id exists."""
    found = await connection.fetchval(
        "SELECT true FROM organizations AS o WHERE o.id = $1", organization_id
    )
    return found is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization(FromRow):
    """An organization, as a list shows it."""

    id: int
    name: str
    created_at: datetime


async def list_organizations(
    connection: Connection, *, after: int, limit: int
) -> list[Organization]:
    """List up to `limit` organizations with ids greater than `after`, in the order of ids."""
    rows = await connection.fetch(
        "SELECT o.id, o.name, o.created_at FROM organizations AS o WHERE o.id > $1"
        " ORDER BY o.id LIMIT $2",
        after,
        limit,
    )
    return [Organization.from_row(row) for row in rows]
