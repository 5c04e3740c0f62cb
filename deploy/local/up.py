"""`attachments up`: run the whole service on one machine, in the foreground, with no setup."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.environment import note
from deploy.local.data_dir import (
    ENVIRONMENT,
    READY,
    Kept,
    held,
    read_kept,
    write_kept,
)
from deploy.local.stack_ports import api_fault_of, choose
from deploy.private_files import write_private
from deploy.processes.supervisor import StartFailed, Supervisor
from shared.beginning import resume_collection
from shared.errors import SettingsError
from shared.log_lines import wants_json

if TYPE_CHECKING:
    from deploy.local.console import Console
    from deploy.local.stack import Stack

READY_TEXT = """\
attachments is up at {api_url} after {seconds:.1f} s; Ctrl-C stops it
upload a file: {upload_page_url}
organization {organization_id}, token {token}
try: curl -H 'X-Auth-Token: {token}' -H 'X-Organization-Id: {organization_id}' {api_url}/api/v2/attachments
"""  # noqa: E501 - a line to copy


def run_up(
    data_dir: Path, port: int | None, ready_file: Path | None, decoders: int | None, *, mend: bool
) -> int:
    """Run a stack until a signal stops it; return the exit status.

    `port` None means the last run's port, or 8000, or any free port, in this order; 0 means any
    free port. A fault that the operator can repair is printed in one line to standard error. After
    rows were lost, `mend` lets new ids begin above those in the store. Raises SettingsError.
    """
    try:
        data_dir = data_dir.resolve()
        ready_file = ready_file and ready_file.absolute()
        with held(data_dir):
            return asyncio.run(up(data_dir, port, ready_file, decoders, mend=mend))
    except StartFailed as fault:
        note(f"attachments up: {fault}", level="error")
    except OSError as error:
        note(f"attachments up: {error.filename or error}: {error.strerror}", level="error")
    return 1


async def up(
    data_dir: Path, port: int | None, ready_file: Path | None, decoders: int | None, *, mend: bool
) -> int:
    """Run a stack in a locked data directory until SIGINT, SIGTERM or SIGHUP; return 0.

    Replaces the signal handlers and the environment of this process. Raises StartFailed,
    SettingsError, OSError.
    """
    from deploy.local.console import Console

    began = time.monotonic()
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    ready_files = [data_dir / READY, *([] if ready_file is None else [ready_file])]
    _forget(ready_files)
    own = {} if decoders is None else {"ATTACHMENTS_DECODERS": str(decoders)}
    _check_settings(own if port is None else {**own, "ATTACHMENTS_API_PORT": str(port)})
    kept, notes = _keep(data_dir, port)
    console = Console(as_json=wants_json())
    try:
        console.print_lines("\n".join(notes))
        stack = _build(data_dir, kept, own, console, mend=mend)
        resume_collection()

        def publish() -> None:
            for path in ready_files:
                write_private(path, json.dumps(stack.document(), indent=2) + "\n")

        supervisor = Supervisor(console.warn, publish)
        try:
            if not await _started(stack, stopping):
                return 0
            async with stack.page.serving():
                _write_environment(data_dir, stack)
                publish()
                for part in stack.parts:
                    supervisor.watch(part)
                seconds = time.monotonic() - began
                _print_ready(console, stack, seconds)
                # The notes were already printed, but may have scrolled out of the terminal. Print
                # them again.
                console.print_lines("\n".join(notes))
                await stopping.wait()
            return 0
        finally:
            console.print_lines("stopping")
            _on_signals(stack.kill)
            await supervisor.release()
            await stack.stop()
            for path in ready_files:
                path.unlink(missing_ok=True)
    finally:
        console.close()


def _print_ready(console: "Console", stack: "Stack", seconds: float) -> None:
    """Print the stack's addresses.

    JSON output is a log, so it has no secrets: the token and the page's address are left out.
    """
    ready = stack.document()
    if wants_json():
        console.tell_event(
            "attachments is up",
            api_url=ready["api_url"],
            organization=ready["organization_id"],
            seconds=round(seconds, 1),
        )
    else:
        console.print_lines(READY_TEXT.format(**ready, seconds=seconds))


async def _started(stack: "Stack", stopping: asyncio.Event) -> bool:
    """Start a stack, but cancel the start if `stopping` is set. Returns True if it has started."""
    start = asyncio.create_task(stack.start())
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
        return start.done()
    finally:
        stop.cancel()
        start.cancel()
        await asyncio.gather(start, stop, return_exceptions=True)


def _on_signals(action: Callable[[], None]) -> None:
    """Call `action` at SIGINT, SIGTERM and SIGHUP.

    If this process ignores SIGHUP, because it was started with `nohup`, SIGHUP stays ignored.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, action)


def _forget(ready_files: list[Path]) -> None:
    """Remove ready files of an earlier run, and check that new ones can be written."""
    for path in ready_files:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise StartFailed(f"{path} is not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise StartFailed(f"{path} cannot be written")


def _check_settings(own: dict[str, str]) -> None:
    """Check all settings, and that the API's address belongs to this machine."""
    from deploy.local.plan import check_settings

    faults = []
    try:
        check_settings(own)
    except SettingsError as error:
        faults.append(str(error))
    if fault := api_fault_of(0):
        faults.append(f"ATTACHMENTS_API_HOST: cannot be listened on: {fault}")
    if faults:
        raise SettingsError("\n".join(faults))


def _keep(data_dir: Path, port: int | None) -> tuple[Kept, list[str]]:
    """Read the kept secrets and choose the ports. Return both, and messages about the ports."""
    kept = read_kept(data_dir)
    chosen = choose(port, kept.ports)
    kept.ports = chosen.ports
    write_kept(data_dir, kept)
    (data_dir / "logs").mkdir(exist_ok=True, mode=0o700)
    return kept, chosen.notes


def _build(
    data_dir: Path, kept: Kept, own: dict[str, str], console: "Console", *, mend: bool
) -> "Stack":
    from deploy.local.stack import build_stack

    def renew_token() -> str:
        kept.token = Kept().token
        write_kept(data_dir, kept)
        return kept.token

    return build_stack(data_dir, kept, own, console.write_line, renew_token, mend=mend)


def _write_environment(data_dir: Path, stack: "Stack") -> None:
    """Write the settings of this stack to a file, for other commands in this directory."""
    settings = {
        name: value
        for name, value in stack.api.env.items()
        if name.startswith(("ATTACHMENTS_", "AWS_"))
        # Each process has its own metrics port, so there is no single one that other commands could
        # use.
        and name != "ATTACHMENTS_METRICS_PORT"
    }
    client = {
        "ATTACHMENTS_API_URL": settings.get("ATTACHMENTS_API_URL", stack.api_url),
        "ATTACHMENTS_TOKEN": stack.token,
        "ATTACHMENTS_ORGANIZATION_ID": str(stack.document()["organization_id"]),
    }
    write_private(data_dir / ENVIRONMENT, json.dumps({**settings, **client}, indent=2) + "\n")
