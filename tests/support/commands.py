"""Functions that run the `attachments` command as a process, with the settings of a service under
test.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from deploy.cli import app
from tests.support.forked import run_module
from tests.support.service import Service

FOR_PEOPLE = {"ATTACHMENTS_LOG_FORMAT": "console"}
"""With this setting, commands log text, unless a test sets a format. Servers log JSON in tests."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The exit status and the output of a command."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """The standard output as text."""
        return self.raw.decode()


async def command(service: Service, *arguments: str, **overrides: str) -> Ended:
    """Run `attachments …` with a service's settings.

    `overrides` are further settings, each by its name in lower case.
    """
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    status, out, err = await asyncio.to_thread(
        run_module,
        ("-m", "deploy.cli", *arguments),
        {"PATH": os.environ["PATH"], **service.environment, **FOR_PEOPLE, **changes},
        timeout_s=60,
    )
    return Ended(status=status, raw=out, err=err.decode())


def commands(group: object, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield all commands of a click group; each command is a tuple of words."""
    members = getattr(group, "commands", None)
    if members is None:
        yield words
    else:
        for name, member in members.items():
            yield from commands(member, *words, name)


EVERY = sorted(" ".join(words) for words in commands(typer.main.get_command(app)))


async def reconciled(service: Service, *options: str) -> tuple[int, dict[int, str], Any]:
    """Run `attachments reconcile --json`.

    Return the exit status, the kind of difference for each attachment id, and the whole document.
    """
    ended = await command(service, "reconcile", "--json", *options)
    assert ended.err == "", ended.err
    document = json.loads(ended.out)
    kinds = {each["id"]: each["kind"] for each in document["differences"]}
    return ended.status, kinds, document
