"""Commands for operators about the tokens of an organization."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.attachments import check_organization
from deploy.commands.environment import Misused, Unusable, note, print_line, with_database
from deploy.commands.expiry import parse_expiry
from deploy.commands.options import LOCAL, DataDir, Json, Organization, check_name
from shared.keys import MAX_ID

if TYPE_CHECKING:
    from shared.database import Database
    from shared.tokens import Scope

MAX_RATE = 1_000_000
"""Maximum rate limit of a token, in requests per second."""

tokens_app = typer.Typer(help="Create, list and revoke the tokens of an organization.")


def parse_scopes(given: list[str]) -> "Scope":
    """Return the widest scope in the options. One option may name several, such as `read,write`.

    Without an option, the scope is `admin`, the widest. Raises Misused for an unknown or blank
    scope.
    """
    from shared.tokens import SCOPES

    names = [name.strip() for option in given for name in option.split(",")]
    if not set(names) <= set(SCOPES):
        raise Misused(f"--scope: must be one or more of {', '.join(SCOPES)}")
    return next((scope for scope in reversed(SCOPES) if scope in names), SCOPES[-1])


@tokens_app.command("create")
def create_token(
    organization: Organization,
    name: Annotated[str, typer.Option(help="Its purpose.")] = "command line",
    person_id: Annotated[int | None, typer.Option(min=1, max=MAX_ID)] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|DURATION",
            help="Its end: 2027-01-31, 2027-01-31T12:00+02:00 (UTC unless it names an"
            " offset), 90d, 12h; never by default.",
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="read|write|admin",
            help="Its rights: read is GET; write also creates, changes and deletes; admin, the"
            " default, is everything. The widest counts if several are given.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_RATE,
            help="Requests per second with this token, beside the limit of the organization.",
        ),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Create a token. It is printed once, alone on standard output.

    The token's id is printed to standard error.
    """
    from datetime import UTC, datetime

    import asyncpg

    from deploy.commands import audit, output
    from shared import tokens
    from shared.part_settings import DatabaseSettings

    name = check_name("--name", name)
    widest = parse_scopes(scope or [])
    end = None if expires is None else parse_expiry(expires, now=datetime.now(UTC))

    by = audit.operator()

    async def work(database: "Database", settings: DatabaseSettings) -> tokens.Issued:
        try:
            issued = await database.run(
                tokens.issue_token,
                organization,
                name,
                person_id=person_id,
                scope=widest,
                expires=end,
                rate_limit=limit,
                by=by,
            )
        except asyncpg.ForeignKeyViolationError:
            raise Unusable(f"--organization: there is no organization {organization}") from None
        if settings.log_format == "json":  # in text format, the message below is enough
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
    if as_json:
        output.print_json(
            {
                "id": token.id,
                "token": token.plain,
                "scope": token.scope,
                "expires_at": token.expires_at,
                "rate_limit": token.rate_limit,
            }
        )
    else:
        print_line(token.plain)
    until = f"until {output.plain(token.expires_at)}" if token.expires_at else "until it is revoked"
    note(
        f"This is token {token.id}, scope {token.scope}, valid {until}."
        f" It is not shown again: only its digest is kept. `attachments tokens revoke {token.id}`"
        f" ends it. Created by {by}."
    )


@tokens_app.command("list")
def list_tokens(
    organization: Organization, as_json: Json = False, data_dir: DataDir = LOCAL
) -> None:
    """List the tokens of an organization without their secrets, also revoked and expired ones."""
    from dataclasses import asdict

    from deploy.commands import output
    from shared import tokens
    from shared.part_settings import DatabaseSettings

    async def work(database: "Database", _: DatabaseSettings) -> list[tokens.Token]:
        await check_organization(database, organization)
        return await database.run(tokens.list_tokens, organization)

    found = with_database(data_dir, DatabaseSettings, work)
    if as_json:
        output.print_json([asdict(token) for token in found])
        return
    output.print_table(
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
            "limit",
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
                row.rate_limit,
            )
            for row in found
        ),
    )


@tokens_app.command("revoke")
def revoke_token(
    token_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID)],
    data_dir: DataDir = LOCAL,
) -> None:
    """Revoke a token by its id. Requests with it are then answered with 401."""
    from deploy.commands import audit
    from shared import tokens
    from shared.part_settings import DatabaseSettings

    by = audit.operator()

    async def work(database: "Database", settings: DatabaseSettings) -> bool:
        organization = await database.run(tokens.revoke_token, token_id, by=by)
        if organization is not None:
            audit.log_change(
                "token revoked", settings, token=token_id, organization=organization, by=by
            )
        return organization is not None

    if not with_database(data_dir, DatabaseSettings, work):
        raise Unusable(f"there is no token {token_id} that is not revoked yet")
    print_line(f"{token_id}: is revoked")
