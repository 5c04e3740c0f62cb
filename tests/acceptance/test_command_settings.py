"""A command needs only the settings that it uses; all other settings may be wrong."""

import asyncio
import os
from pathlib import Path

import pytest

from deploy.cli import run
from shared.part_settings import (
    DatabaseSettings,
    LogSettings,
    QueueSettings,
    ReconcileSettings,
    ReplaySettings,
    UsageSettings,
)
from shared.settings import Settings
from shared.webhook_settings import WebhookCommandSettings
from tests.support.commands import EVERY
from tests.support.service import Service

PROCESSES = {"api", "consume", "worker", "up", "doctor"}
"""Commands that need all settings, because they run the whole service or examine it."""

WITHOUT = {"health", "upload"}
"""Commands that call an API and need no settings of the service."""

OWN = ("--organization", "1")

USED: dict[str, tuple[type[LogSettings], list[list[str]]]] = {
    "events list": (DatabaseSettings, [["events", "list"]]),
    "events replay": (ReplaySettings, [["events", "replay", "--all"]]),
    "events show": (DatabaseSettings, [["events", "show", "LETTER"]]),
    "backlog": (DatabaseSettings, [["backlog"], ["backlog", "--json"]]),
    "count": (DatabaseSettings, [["count"], ["count", "--organization", "1"]]),
    "list": (DatabaseSettings, [["list"], ["list", "--organization", "1", "--state", "failed"]]),
    "migrate": (DatabaseSettings, [["migrate"]]),
    "organizations create": (DatabaseSettings, [["organizations", "create", "Acme"]]),
    "organizations list": (DatabaseSettings, [["organizations", "list"]]),
    "organizations limit": (UsageSettings, [["organizations", "limit", "1", "--bytes", "9"]]),
    "reconcile": (ReconcileSettings, [["reconcile"]]),
    "retry": (QueueSettings, [["retry", "ID"], ["retry", "--failed"]]),
    "show": (DatabaseSettings, [["show", "ID"]]),
    "tokens create": (DatabaseSettings, [["tokens", "create", "--organization", "1"]]),
    "tokens list": (DatabaseSettings, [["tokens", "list", "--organization", "1"]]),
    "tokens revoke": (DatabaseSettings, [["tokens", "revoke", "1"]]),
    "webhooks create": (WebhookCommandSettings, [["webhooks", "create", *OWN, "https://a.b/c"]]),
    "webhooks delete": (WebhookCommandSettings, [["webhooks", "delete", *OWN, "7"]]),
    "webhooks deliveries": (WebhookCommandSettings, [["webhooks", "deliveries", *OWN, "7"]]),
    "webhooks list": (WebhookCommandSettings, [["webhooks", "list", *OWN]]),
    "webhooks retry": (
        WebhookCommandSettings,
        [["webhooks", "retry", *OWN, "7", "--delivery", "1"]],
    ),
    "webhooks rotate": (WebhookCommandSettings, [["webhooks", "rotate", *OWN, "7"]]),
    "webhooks show": (WebhookCommandSettings, [["webhooks", "show", *OWN, "7"]]),
    "webhooks test": (WebhookCommandSettings, [["webhooks", "test", *OWN, "7"]]),
    "webhooks update": (WebhookCommandSettings, [["webhooks", "update", *OWN, "7", "--inactive"]]),
    "usage": (UsageSettings, [["usage"], ["usage", "--organization", "1"]]),
}


def test_every_command_has_its_settings() -> None:
    assert sorted({*USED, *PROCESSES, *WITHOUT}) == EVERY


@pytest.mark.parametrize("wrong", [None, "?"], ids=["others not set", "others wrong"])
async def test_a_command_needs_no_other_settings_than_its_own(
    wrong: str | None,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    created = await service.client.create()
    letter = await service.database.fetchval(
        "INSERT INTO dead_letters (digest, body, source, reason)"
        " VALUES (sha256('x'), '{}', 'webhook', 'r') RETURNING id"
    )
    ids = {"ID": str(created["data"]["id"]), "LETTER": str(letter)}
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("ATTACHMENTS_", "AWS_"))]:
        monkeypatch.delenv(name)
    ended = {}
    for part, runs in USED.values():
        with monkeypatch.context() as patch:
            for name, value in service.environment.items():
                field = name.removeprefix("ATTACHMENTS_").lower()
                if field in part.model_fields or name.startswith("AWS_"):
                    patch.setenv(name, value)
            for field in Settings.model_fields.keys() - part.model_fields.keys():
                if wrong is not None:
                    patch.setenv(f"ATTACHMENTS_{field.upper()}", wrong)
            for arguments in runs:
                words = [ids.get(word, word) for word in arguments]
                status = await asyncio.to_thread(run, words)
                ended[" ".join(arguments)] = (status, capsys.readouterr().err)
    assert {words: err for words, (status, err) in ended.items() if "settings" in err} == {}
    failed = {words for words, (status, _) in ended.items() if status != 0}
    # `reconcile` fails here because the probe's row has no object. `events replay` fails because
    # the dead letter is empty and cannot be read. The commands for webhook 7 fail because this
    # webhook does not exist.
    others = {words for words in failed if not words.startswith("webhooks ")}
    assert others <= {"reconcile", "events replay --all"}
    assert "webhooks list --organization 1" not in failed
