"""Functions that run `attachments doctor` for a service and check the form of its output."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from deploy.doctor.checks import diagnose
from deploy.doctor.report import to_json
from shared.settings import load_settings
from tests.support.local import bare_environment
from tests.support.service import Service

NAMES = [
    "settings",
    "database",
    "schema",
    "broker",
    "persistence",
    "eviction",
    "rights",
    "worker",
    "seal",
    "scanner",
    "store",
    "deletion",
    "owner",
    "sequence",
    "clocks",
    "api",
    "upload",
    "cors",
    "event",
    "thumbnail",
    "links",
    "removal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The JSON document that `attachments doctor` prints."""

    document: dict[str, Any]

    def __getitem__(self, name: str) -> dict[str, Any]:
        [found] = [check for check in self.document["checks"] if check["name"] == name]
        return dict(found)

    def named(self, status: str) -> list[str]:
        """Return the names of the checks that ended with this status."""
        return [each["name"] for each in self.document["checks"] if each["status"] == status]


def environment(service: Service, **overrides: str) -> dict[str, str]:
    """Return a service's environment with the address of its API.

    `overrides` are settings by their names in lower case.
    """
    changes = {f"ATTACHMENTS_{name.upper()}": value for name, value in overrides.items()}
    return {**service.environment, "ATTACHMENTS_API_URL": service.base_url, **changes}


async def examine(
    variables: Mapping[str, str], *, origin: str | None = None, wait: float = 60
) -> Examined:
    """Run the doctor's checks in this process, with the given environment variables, and return its
    output.
    """
    sent: list[str] = []
    with mock.patch.dict(os.environ, {**bare_environment(), **variables}, clear=True):
        verdicts = await diagnose(load_settings(), origin=origin, wait_s=wait, on_check=sent.append)
    assert sent == NAMES[1:]
    return read(to_json(verdicts), variables)


def read(document: dict[str, Any], variables: Mapping[str, str]) -> Examined:
    """Parse the doctor's output, and assert that its form is valid and that it shows no secret."""
    assert list(document) == ["healthy", "checks"]
    assert [check["name"] for check in document["checks"]] == NAMES
    for check in document["checks"]:
        assert list(check)[:4] == ["name", "status", "found", "mend"]
        assert list(check)[4:] in ([], ["seconds"])
        assert check["found"]
        assert (check["mend"] is not None) == (check["status"] in ("warning", "failed")), check
    examined = Examined(document=document)
    assert document["healthy"] == (not examined.named("failed"))
    assert_no_secret(json.dumps(document), variables)
    return examined


def assert_no_secret(shown: str, variables: Mapping[str, str]) -> None:
    secrets = [
        variables[name]
        for name in (
            "ATTACHMENTS_FILES_SECRET",
            "ATTACHMENTS_EVENTS_TOKENS",
            "AWS_SECRET_ACCESS_KEY",
        )
        if variables.get(name)
    ]
    secrets += [
        variables[name].partition("@")[0].rpartition(":")[2]
        for name in ("ATTACHMENTS_DATABASE_URL", "ATTACHMENTS_BROKER_URL")
    ]
    assert [secret for secret in secrets if secret and secret in shown] == []
    assert "X-Amz-Signature" not in shown
    assert "&s=" not in shown
