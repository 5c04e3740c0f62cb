"""The commands of operators: look at attachments, retry them, manage organizations and tokens."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.environment import Misused, Unusable, note, tell, with_database
from deploy.expiry import parse_expiry

if TYPE_CHECKING:
    from shared.database import Database

MAX_ID = 2**63 - 1
FAILED_AT_A_TIME = 500
LOCAL = Path(".attachments")

DataDir = Annotated[
    Path, typer.Option(help="Where `attachments up` keeps the local stack, used if nothing is set.")
]
AttachmentId = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)]
Organization = Annotated[int, typer.Option(min=1, max=MAX_ID, help="The organization's id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

organizations_app = typer.Typer(help="Create organizations and set their quotas.")
tokens_app = typer.Typer(help="Create, list and revoke the tokens of an organization.")


def show(attachment_id: AttachmentId, as_json: Json = False, data_dir: DataDir = LOCAL) -> None:
    """Show an attachment as it stands in the database, whoever owns it, deleted or not."""
    from deploy import report
    from shared.addresses import without_credentials
    from shared.attachments import FIELDS, find_any
    from shared.part_settings import DatabaseSettings
    from shared.reasons import sentence

    row = with_database(
        data_dir, DatabaseSettings, lambda database, _: database.run(find_any, attachment_id)
    )
    if row is None:
        raise Unusable(f"there is no attachment {attachment_id}")
    values: dict[str, Any] = {"id": row.id, "state": row.state, "reason": row.reason}
    values["reason_detail"] = sentence(row.reason) if row.reason else None
    for name in ("attempt", "due_at"):
        values[name] = getattr(row, name)
    values |= {"key": row.key, "thumbnail_key": row.thumbnail_key}
    values |= {name: getattr(row, name) for name in FIELDS if name != "age_s"}
    if row.temp_url is not None:
        values["temp_url"] = without_credentials(row.temp_url)
    if as_json:
        report.print_json(values)
    else:
        report.print_table(("attachment", ""), values.items())


def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=MAX_ID)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Retry all that are failed.")] = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Send failed and rejected attachments through processing again."""
    if bool(ids) == failed:
        raise Misused("give either IDs or --failed")
    from shared import processing
    from shared.attachments import find_any
    from shared.broker import Publisher
    from shared.deployment import find_prefix
    from shared.part_settings import QueueSettings

    async def work(database: "Database", settings: QueueSettings) -> bool:
        prefix = await find_prefix(database, settings)
        publisher = Publisher(settings.broker_url.get_secret_value(), prefix)
        unknown = False

        async def send(batch: list[int]) -> set[int]:
            woken = await database.run(processing.retry, batch)
            for wake_up in woken:
                publisher.publish(wake_up)
                tell(f"{wake_up.attachment_id}: is processed again")
            return {wake_up.attachment_id for wake_up in woken}

        try:
            for number in sorted(set(ids or ()) - await send(list(set(ids or ())))):
                row = await database.run(find_any, number)
                if row is None:
                    unknown = True
                    note(f"{number}: there is no such attachment")
                elif row.deleted_at is not None:
                    tell(f"{number}: is deleted; nothing was done")
                else:
                    tell(f"{number}: is {row.state}, not failed or rejected; nothing was done")
            after = 0
            while failed and (
                batch := await database.run(
                    processing.failed_ids, after=after, limit=FAILED_AT_A_TIME
                )
            ):
                await send(batch)
                after = batch[-1]
        finally:
            publisher.close()
        if publisher.dropped:
            note(publisher.left_to_sweep)
        return not unknown

    raise typer.Exit(0 if with_database(data_dir, QueueSettings, work) else 1)


@organizations_app.command("create")
def create_organization(name: str, data_dir: DataDir = LOCAL) -> None:
    """Create an organization and print its id."""
    from shared import organizations
    from shared.part_settings import DatabaseSettings

    if not name.strip():
        raise Misused("NAME can't be blank")
    tell(
        with_database(
            data_dir,
            DatabaseSettings,
            lambda database, _: database.run(organizations.create_organization, name),
        )
    )


def parse_scopes(given: list[str]) -> str:
    """Return the widest of the scopes in the options, each of them comma-separated.

    No option means every scope. Raises Misused for an unknown or blank one.
    """
    from shared.organizations import SCOPES

    names = [name.strip() for option in given for name in option.split(",")]
    if not set(names) <= set(SCOPES):
        raise Misused(f"--scope: must be one or more of {', '.join(SCOPES)}")
    return max(names, key=SCOPES.index, default=SCOPES[-1])


@tokens_app.command("create")
def create_token(
    organization: Organization,
    name: Annotated[str, typer.Option(help="What it is for.")] = "command line",
    person_id: Annotated[int | None, typer.Option(min=1, max=MAX_ID)] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|DURATION",
            help="When it ends: 2027-01-31, 2027-01-31T12:00+02:00 (UTC unless it names an"
            " offset), 90d, 12h; never by default.",
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="read|write|admin",
            help="What it may do: read is GET; write also creates, changes and deletes; admin, the"
            " default, is everything. The widest counts if several are given.",
        ),
    ] = None,
    data_dir: DataDir = LOCAL,
) -> None:
    """Create a token and print it, this once, alone on standard output."""
    from datetime import UTC, datetime

    import asyncpg

    from deploy import audit, report
    from shared import organizations
    from shared.part_settings import DatabaseSettings

    widest = parse_scopes(scope or [])
    end = None if expires is None else parse_expiry(expires, now=datetime.now(UTC))

    by = audit.operator()

    async def work(database: "Database", settings: DatabaseSettings) -> organizations.Issued:
        try:
            issued = await database.run(
                organizations.issue_token,
                organization,
                name,
                person_id=person_id,
                scope=widest,
                expires=end,
                by=by,
            )
        except asyncpg.ForeignKeyViolationError:
            raise Unusable(f"--organization: there is no organization {organization}") from None
        if settings.log_format == "json":  # the note below says the same to people, in one line
            audit.log_change(
                "token created",
                settings,
                token=issued.id,
                organization=organization,
                scope=issued.scope,
                by=by,
            )
        return issued

    token = with_database(data_dir, DatabaseSettings, work)
    tell(token.plain)
    until = f"until {report.plain(token.expires_at)}" if token.expires_at else "until it is revoked"
    note(
        f"This is token {token.id}, scope {token.scope}, good {until}."
        f" It is not shown again: only its digest is kept. Created by {by}."
    )


@tokens_app.command("list")
def list_tokens(
    organization: Organization, as_json: Json = False, data_dir: DataDir = LOCAL
) -> None:
    """List the tokens of an organization, revoked and expired ones too, without their secrets."""
    from dataclasses import asdict

    from deploy import report
    from shared import organizations
    from shared.part_settings import DatabaseSettings

    tokens = with_database(
        data_dir,
        DatabaseSettings,
        lambda database, _: database.run(organizations.list_tokens, organization),
    )
    if as_json:
        report.print_json([asdict(token) for token in tokens])
        return
    report.print_table(
        (
            "id",
            "name",
            "scope",
            "person",
            "created",
            "expires",
            "last used",
            "revoked",
            "created by",
            "revoked by",
        ),
        (
            (
                row.id,
                row.name,
                row.scope,
                row.person_id,
                row.created_at,
                row.expires_at,
                row.last_used_at,
                row.revoked_at,
                row.created_by,
                row.revoked_by,
            )
            for row in tokens
        ),
    )


@tokens_app.command("revoke")
def revoke_token(
    token_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)],
    data_dir: DataDir = LOCAL,
) -> None:
    """Revoke a token by its id; it is refused from then on."""
    from deploy import audit
    from shared import organizations
    from shared.part_settings import DatabaseSettings

    by = audit.operator()

    async def work(database: "Database", settings: DatabaseSettings) -> bool:
        organization = await database.run(organizations.revoke_token, token_id, by=by)
        if organization is not None:
            audit.log_change(
                "token revoked", settings, token=token_id, organization=organization, by=by
            )
        return organization is not None

    if not with_database(data_dir, DatabaseSettings, work):
        raise Unusable(f"there is no token {token_id} that is not revoked yet")
    tell(f"{token_id}: is revoked")
