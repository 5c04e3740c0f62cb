"""The webhooks of organizations: the record, and the SQL statements for requests of clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.database import Connection, affected
from shared.errors import AttachmentsError
from shared.rows import FromRow, columns_of
from shared.webhooks.kinds import MAX_WEBHOOKS, AttachmentEvent, Deactivation
from shared.webhooks.secret_signing import make_secret
from shared.webhooks.vault import SecretUnreadable, Vault

PREVIOUS_S: Final = 86_400
"""For this number of seconds after a rotation, deliveries are also signed with the former
secret."""


class TooManyWebhooks(AttachmentsError):
    """The organization has MAX_WEBHOOKS webhooks already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(FromRow):
    """One row of `webhooks`, without its secrets."""

    #: The webhook's number.
    id: int
    #: The organization whose attachments the webhook reports.
    organization_id: int
    #: The address to which deliveries are posted.
    target_url: str
    #: The types of events that are sent to the webhook.
    events: Sequence[AttachmentEvent]
    #: A text of the client. The service gives it no meaning.
    description: str | None
    #: True if events are queued and sent.
    active: bool
    #: When the webhook was created.
    created_at: datetime
    #: When the former secret becomes invalid; None before the first rotation.
    previous_ends_at: datetime | None
    #: When the first failure after the last success happened; None after a success.
    failing_since: datetime | None
    #: When and why the service deactivated the webhook; None if it did not.
    deactivated_at: datetime | None
    deactivated_because: Deactivation | None


_COLUMNS = ", ".join(f"w.{name}" for name in columns_of(Webhook))

CHANGEABLE: Final = ("target_url", "events", "description", "active")
"""The columns that a client may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithSecret:
    """A webhook and its secret, which signs the deliveries."""

    webhook: Webhook
    secret: str


async def create(
    connection: Connection, organization_id: int, values: dict[str, Any], vault: Vault
) -> WithSecret:
    """Create a webhook. `values` has all columns of CHANGEABLE, and is already checked.

    Raises TooManyWebhooks if the organization has MAX_WEBHOOKS. Do not repeat it after a success:
    that would create another webhook.
    """
    secret = make_secret()
    async with connection.transaction():
        # With the lock, two calls for one organization wait for each other, so the count is right.
        await connection.execute(
            "SELECT FROM organizations WHERE id = $1 FOR NO KEY UPDATE", organization_id
        )
        row = await connection.fetchrow(
            f"""
            INSERT INTO webhooks AS w
                (organization_id, target_url, events, description, active, secret, key_id)
            SELECT $1, $2, $3, $4, $5, $6, $7
            WHERE (SELECT count(*) FROM webhooks WHERE organization_id = $1) < {MAX_WEBHOOKS}
            RETURNING {_COLUMNS}
            """,
            organization_id,
            *(values[name] for name in CHANGEABLE),
            vault.encrypt(secret),
            vault.key_id,
        )
    if row is None:
        raise TooManyWebhooks(f"an organization may have at most {MAX_WEBHOOKS} webhooks")
    return WithSecret(webhook=Webhook.from_row(row), secret=secret)


async def list_all(connection: Connection, organization_id: int) -> list[Webhook]:
    """List all webhooks of an organization, oldest first; there are at most MAX_WEBHOOKS."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM webhooks AS w WHERE w.organization_id = $1 ORDER BY w.id",
        organization_id,
    )
    return [Webhook.from_row(row) for row in rows]


async def find(connection: Connection, webhook_id: int, organization_id: int) -> Webhook | None:
    """Find a webhook of an organization. Returns None if it does not exist."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM webhooks AS w WHERE w.id = $1 AND w.organization_id = $2",
        webhook_id,
        organization_id,
    )
    return Webhook.from_row(row) if row else None


async def find_with_secret(
    connection: Connection, webhook_id: int, organization_id: int, vault: Vault
) -> WithSecret | None:
    """Find a webhook with its secret. Returns None if it is missing. Raises SecretUnreadable."""
    webhook = await find(connection, webhook_id, organization_id)
    stored = await connection.fetchval(
        "SELECT w.secret FROM webhooks AS w WHERE w.id = $1 AND w.organization_id = $2",
        webhook_id,
        organization_id,
    )
    if webhook is None or stored is None:
        return None
    return WithSecret(webhook=webhook, secret=vault.decrypt(stored))


async def update(
    connection: Connection, webhook_id: int, organization_id: int, changes: dict[str, Any]
) -> Webhook | None:
    """Set the columns that a client changed. Return the webhook, or None if it does not exist.

    If `active` is set to true, the record of failures is cleared. `changes` has only columns of
    CHANGEABLE. May be repeated.
    """
    assert changes.keys() <= set(CHANGEABLE)
    sets = [f"{name} = ${number}" for number, name in enumerate(changes, 3)]
    if changes.get("active"):
        sets.append("failing_since = NULL, deactivated_at = NULL, deactivated_because = NULL")
    row = await connection.fetchrow(
        f"UPDATE webhooks AS w SET {', '.join(sets) or 'active = w.active'}"
        f" WHERE w.id = $1 AND w.organization_id = $2 RETURNING {_COLUMNS}",
        webhook_id,
        organization_id,
        *changes.values(),
    )
    return Webhook.from_row(row) if row else None


async def rotate(
    connection: Connection, webhook_id: int, organization_id: int, vault: Vault
) -> WithSecret | None:
    """Replace the secret of a webhook. The former secret also signs, for PREVIOUS_S seconds.

    The secret before the former one becomes invalid at once. Returns None if the webhook does not
    exist.
    """
    secret = make_secret()
    row = await connection.fetchrow(
        f"""
        UPDATE webhooks AS w
        SET secret_previous = w.secret, secret = $3,
            previous_ends_at = now() + {PREVIOUS_S} * interval '1 second',
            -- the former secret may be of another key: see `reencrypt`
            key_id = CASE w.key_id WHEN $4 THEN $4 ELSE 'mixed' END
        WHERE w.id = $1 AND w.organization_id = $2
        RETURNING {_COLUMNS}
        """,
        webhook_id,
        organization_id,
        vault.encrypt(secret),
        vault.key_id,
    )
    return WithSecret(webhook=Webhook.from_row(row), secret=secret) if row else None


async def delete(connection: Connection, webhook_id: int, organization_id: int) -> bool:
    """Remove a webhook and its secrets. Returns False if it does not exist. May be repeated.

    The webhook's deliveries are no longer sent. A worker removes them: `deliveries.prune_orphans`.
    """
    status = await connection.execute(
        "DELETE FROM webhooks WHERE id = $1 AND organization_id = $2", webhook_id, organization_id
    )
    return affected(status) == 1


async def exists_any(connection: Connection) -> bool:
    """Return whether any organization has an active webhook."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM webhooks WHERE active)")
    return found


async def reencrypt(connection: Connection, vault: Vault) -> int:
    """Encrypt the secrets of up to 1,000 webhooks again, with the first key of the vault.

    Returns the number of these webhooks. Webhooks whose secrets have this key already are left out.
    If no key decrypts some of the secrets, raises SecretUnreadable after the other secrets are
    done. May be repeated.
    """
    rows = await connection.fetch(
        "SELECT id, secret, secret_previous FROM webhooks WHERE key_id <> $1 LIMIT 1000",
        vault.key_id,
    )
    unreadable = 0
    for row in rows:
        former = row["secret_previous"]
        try:
            secret = vault.encrypt(vault.decrypt(row["secret"]))
            previous = None if former is None else vault.encrypt(vault.decrypt(former))
        except SecretUnreadable:
            unreadable += 1
            continue
        await connection.execute(
            "UPDATE webhooks SET secret = $2, secret_previous = $3, key_id = $4"
            " WHERE id = $1 AND secret = $5",
            row["id"],
            secret,
            previous,
            vault.key_id,
            row["secret"],
        )
    if unreadable:
        raise SecretUnreadable(f"no key of the settings decrypts {unreadable} secrets of webhooks")
    return len(rows)
