"""Plan a local stack: which servers to run, and the settings of the API and the worker.

Nothing is started or opened here; `deploy.local.stack` does that.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.ports import HOST
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.seaweedfs import PORT_NAMES, EmbeddedSeaweedFS, Webhook
from deploy.embedded.server_process import Server
from deploy.embedded.valkey import EmbeddedValkey
from deploy.local.data_dir import Kept
from shared.origins import ANY_LOOPBACK
from shared.settings import PREFIX, load_settings

METRICS_PORTS = {"api": "metrics.api", "worker": "metrics.worker", "consume": "metrics.consume"}
PAGE_PORT = "page"
PORTS = ("postgres", "valkey", *PORT_NAMES, *METRICS_PORTS.values(), PAGE_PORT)


@dataclass(kw_only=True)
class Servers:
    """The embedded servers of a stack; None for a server that runs elsewhere."""

    postgres: EmbeddedPostgres | None = None
    valkey: EmbeddedValkey | None = None
    seaweedfs: EmbeddedSeaweedFS | None = None

    def all(self) -> list[Server]:
        """Return the servers that are embedded."""
        return [each for each in (self.postgres, self.valkey, self.seaweedfs) if each is not None]


def plan_servers(
    directory: Path, kept: Kept, operator: Mapping[str, str], webhook: Webhook
) -> Servers:
    """Make an object for each server that the stack needs, without starting it.

    If the operator's settings have the address of a server, the stack does not need its own.
    """
    logs = directory / "logs"
    servers = Servers()
    if not operator.get("ATTACHMENTS_DATABASE_URL"):
        servers.postgres = EmbeddedPostgres(
            directory=directory / "postgres",
            log=logs / "postgres.log",
            port=kept.ports["postgres"],
            password=kept.postgres_password,
        )
    if not operator.get("ATTACHMENTS_BROKER_URL"):
        servers.valkey = EmbeddedValkey(
            directory=directory / "valkey",
            log=logs / "valkey.log",
            port=kept.ports["valkey"],
            password=kept.valkey_password,
        )
    if not (operator.get("ATTACHMENTS_S3_ENDPOINT_URL") or operator.get("ATTACHMENTS_S3_BUCKET")):
        servers.seaweedfs = EmbeddedSeaweedFS(
            directory=directory / "seaweedfs",
            log=logs / "seaweedfs.log",
            ports={name: kept.ports[name] for name in PORT_NAMES},
            access_key_id=kept.s3_access_key_id,
            secret_access_key=kept.s3_secret_access_key,
            region=operator.get("ATTACHMENTS_S3_REGION") or "us-east-1",
            webhook=webhook,
        )
    return servers


def plan_environment(
    kept: Kept, servers: Servers, operator: Mapping[str, str], own: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of the API and the worker.

    If a variable has several values, the one in `own` (from the command line) is used, else the one
    in `operator` (from the environment), else the planned one.
    """
    planned = {
        "ATTACHMENTS_FILES_SECRET": kept.files_secret,
        "ATTACHMENTS_EVENTS_TOKENS": kept.events_token,
        "ATTACHMENTS_WEBHOOK_SECRET": kept.webhook_secret,
        # Pages under development usually come from this machine, on any port.
        "ATTACHMENTS_CORS_ORIGINS": ",".join(ANY_LOOPBACK),
    }
    if servers.postgres is not None:
        planned["ATTACHMENTS_DATABASE_URL"] = servers.postgres.url
    if servers.valkey is not None:
        planned["ATTACHMENTS_BROKER_URL"] = servers.valkey.url
    given = {name: value for name, value in operator.items() if value}
    if servers.seaweedfs is not None:
        planned["ATTACHMENTS_S3_BUCKET"] = servers.seaweedfs.bucket
        planned["ATTACHMENTS_S3_ENDPOINT_URL"] = servers.seaweedfs.url
        planned["ATTACHMENTS_S3_REGION"] = servers.seaweedfs.region
        # The operator's AWS keys and profiles are for other stores, so remove them. Keep
        # AWS_CA_BUNDLE, because connections to SNS need it.
        given = {
            name: value
            for name, value in given.items()
            if not name.startswith("AWS_") or name == "AWS_CA_BUNDLE"
        }
        direct = ",".join(filter(None, (given.get("NO_PROXY"), given.get("no_proxy"), HOST)))
        given |= {
            "AWS_ACCESS_KEY_ID": servers.seaweedfs.access_key_id,
            "AWS_SECRET_ACCESS_KEY": servers.seaweedfs.secret_access_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": direct,
            "no_proxy": direct,
        }
    return {**planned, **given, **own}


def check_settings(own: Mapping[str, str]) -> None:
    """Check the operator's settings before they are used.

    Empty variables are removed from the environment. `own` are settings from the command line,
    which replace the operator's. Raises SettingsError with all faults.
    """
    for name in [name for name, value in os.environ.items() if not value]:
        if name.startswith(PREFIX):
            del os.environ[name]
    # Placeholders for the settings that `plan_environment` adds if the operator gives none.
    ours = {"DATABASE_URL": "postgresql://", "BROKER_URL": "redis://", "FILES_SECRET": "x" * 16}
    if f"{PREFIX}S3_ENDPOINT_URL" not in os.environ:
        ours["S3_BUCKET"] = "attachments"
    missing = {f"{PREFIX}{name}": value for name, value in ours.items()}.items()
    given = {**{name: value for name, value in missing if name not in os.environ}, **own}
    load_settings(**{name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
