"""The command line `attachments`: commands that run processes, and those of operators and clients.

Each command imports its modules itself, so that `--help` and typing errors are answered without
delay. A user's mistake is reported in one line that names the mistake and the rule. Only a bug
shows a traceback.
"""

import sys

# A signal may arrive during the imports below, which take half a second. So handle signals first.
if __name__ == "__main__":
    from deploy.serving import prepare

    prepare()

import stat
import traceback
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands import attachments, webhook_deliveries
from deploy.commands import usage as quotas
from deploy.commands.backlog import backlog
from deploy.commands.environment import (
    Misused,
    Unusable,
    note,
    print_line,
    read_client,
    read_settings,
)
from deploy.commands.events import events_app
from deploy.commands.options import LOCAL, DataDir, Json, check_word
from deploy.commands.organizations import organizations_app
from deploy.commands.reconcile import reconcile
from deploy.commands.retrying import retry
from deploy.commands.tokens import tokens_app
from deploy.commands.webhooks import webhooks_app
from deploy.doctor.command import doctor
from deploy.serving import SERVING
from shared.errors import AttachmentsError, SettingsError
from shared.foreign import forget_foreign_variables
from shared.keys import MAX_ID
from shared.log_lines import line, name_process, wants_json
from shared.plain import escape_lines

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from shared.version import VERSION

        print_line(f"attachments {VERSION}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Attachments over JSON:API. Settings are environment variables: deploy/docs/settings.md."""


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(help="The folder of all data.")] = LOCAL,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The API's; 0 is any. Default: 8000, or any if taken."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Gets a JSON object once everything answers.")
    ] = None,
    decoders: Annotated[int | None, typer.Option(min=1, max=64, help="Default: by CPUs.")] = None,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Continue ids above those in the store, if rows are lost."),
    ] = False,
) -> None:
    """Run the whole service here: PostgreSQL, Valkey, SeaweedFS, API and worker."""
    from deploy.local.up import run_up

    raise typer.Exit(run_up(data_dir, port, ready_file, decoders, mend=mend))


@app.command()
def api(data_dir: DataDir = LOCAL) -> None:
    """Run one API process."""
    settings = read_settings(data_dir)
    from api.__main__ import run

    run(settings)


@app.command()
def worker(data_dir: DataDir = LOCAL) -> None:
    """Run one worker process."""
    settings = read_settings(data_dir)
    import asyncio

    from shared.store_client import open_storage
    from worker.__main__ import run

    async def open_and_close() -> None:
        async with open_storage(settings):
            pass

    # Check the store's settings here, because a worker would report a wrong setting as a bug.
    asyncio.run(open_and_close())
    raise typer.Exit(run(settings))


@app.command()
def consume(data_dir: DataDir = LOCAL) -> None:
    """Run one process that receives events from an SQS queue."""
    settings = read_settings(data_dir)
    from worker.queue.start import run

    raise typer.Exit(run(settings))


@app.command()
def health(
    process: Annotated[
        str | None, typer.Argument(help="api, worker or consume; by default that of the settings.")
    ] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether the parts answer that it needs.")
    ] = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Check whether a process on this machine is alive, for health checks of containers."""
    from deploy.health import PROCESSES, ask

    chosen = check_word("PROCESS", process, PROCESSES)
    fault = ask("ready" if ready else "live", chosen, data_dir)
    if fault is not None:
        raise Unusable(f"health: {fault}")


@app.command()
def migrate(data_dir: DataDir = LOCAL) -> None:
    """Migrate the database's schema to this version. May be repeated."""
    from shared.part_settings import DatabaseSettings

    settings = read_settings(data_dir, DatabaseSettings)
    import asyncio

    from shared.database import DatabaseAway
    from shared.log import configure_logging
    from shared.role_settings import set_on_role
    from shared.schema import NotMigrated
    from shared.schema import migrate as run

    configure_logging("warning", settings.log_format)
    name = f"ATTACHMENTS_DATABASE_{'DIRECT_' if settings.database_direct_url else ''}URL"
    try:
        run(settings.session_url)
    except NotMigrated as error:
        raise Unusable(f"{name}: cannot be migrated: {error}") from error
    note("the schema is up to date")
    try:
        found = asyncio.run(set_on_role(settings.database_url.get_secret_value()))
    except DatabaseAway as error:
        raise Unusable(f"ATTACHMENTS_DATABASE_URL: {error}") from error
    if found:
        note(f"a pooler is in front of the database; set on the role: {', '.join(found)}")


@app.command()
def upload(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True)
    ],
    attachable_type: Annotated[str | None, typer.Option(help="Such as comment or task.")] = None,
    attachable_id: Annotated[int | None, typer.Option(min=1, max=MAX_ID)] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until ready.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.1, max=86400, help="Seconds to wait for each file.")
    ] = 900,
    as_json: Json = False,
    data_dir: DataDir = LOCAL,
) -> None:
    """Upload files as a client does, several in parallel.

    Needs ATTACHMENTS_API_URL, ATTACHMENTS_TOKEN and ATTACHMENTS_ORGANIZATION_ID, or a local stack.
    """
    import asyncio

    from deploy.client import upload_report
    from deploy.client.upload import upload_files
    from deploy.commands import output
    from shared.attachable_types import ATTACHABLE_TYPES

    if (attachable_type is None) != (attachable_id is None):
        raise Misused("--attachable-type and --attachable-id must be given together")
    check_word("--attachable-type", attachable_type, ATTACHABLE_TYPES)
    found = [file.stat() for file in files]
    for file, status in zip(files, found, strict=True):
        if not stat.S_ISREG(status.st_mode):
            raise Misused(f"FILE '{file}': must be a regular file")
    api_url, token, organization_id = read_client(data_dir)
    with output.upload_bars([status.st_size for status in found]) as on_progress:
        uploaded = asyncio.run(
            upload_files(
                api_url,
                token,
                organization_id,
                files,
                attachable_type=attachable_type,
                attachable_id=attachable_id,
                wait=not no_wait,
                timeout_s=timeout,
                on_progress=on_progress,
            )
        )
    if as_json:
        output.print_json([upload_report.uploaded_json(item) for item in uploaded])
    else:
        upload_report.print_uploaded(uploaded)
    raise typer.Exit(0 if all(item.succeeded for item in uploaded) else 1)


app.command()(doctor)
app.command()(attachments.show)
app.command("list")(attachments.list_attachments)
app.command()(attachments.count)
app.command()(backlog)
app.command()(retry)
app.command()(reconcile)
app.command()(quotas.usage)
app.add_typer(events_app, name="events")
organizations_app.command("limit")(quotas.limit)
app.add_typer(organizations_app, name="organizations")
app.add_typer(tokens_app, name="tokens")
webhooks_app.command("deliveries")(webhook_deliveries.list_deliveries)
webhooks_app.command("retry")(webhook_deliveries.retry_deliveries)
webhooks_app.command("test")(webhook_deliveries.send_test)
app.add_typer(webhooks_app, name="webhooks")


@cache
def _command() -> Any:
    """Build the commands from their functions, once per process."""
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command; return its exit status: 0, 1 for a failure, 2 for wrong usage."""
    try:
        return _command()(arguments, prog_name="attachments", standalone_mode=False) or 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "attachments"
        note(f"{command}: {error.format_message()} (see {command} --help)", level="error")
        return error.exit_code
    except SettingsError as error:
        faults = str(error).splitlines()
        note("attachments: these settings cannot be used:", *faults, level="error")
        return 1
    except AttachmentsError as error:
        note(f"attachments: {error}", level="error")
        return 2 if isinstance(error, Misused) else 1
    except KeyboardInterrupt:
        return 130


def show_bug(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print the traceback of a bug. Escape it, because it may contain text that a client sent."""
    text = "".join(traceback.format_exception(kind, error, trace))
    if wants_json():
        text = line("unexpected error", level="critical", logger="attachments", exception=text)
    sys.stderr.write(escape_lines(text.rstrip("\n")) + "\n")


def _process_of(arguments: list[str]) -> str:
    return arguments[0] if arguments and arguments[0] in SERVING else "command"


def main() -> None:
    """Run the command line of this process."""
    name_process(_process_of(sys.argv[1:]))
    # Do this first, because the commands import modules that read environment variables.
    forget_foreign_variables()
    sys.excepthook = show_bug
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
