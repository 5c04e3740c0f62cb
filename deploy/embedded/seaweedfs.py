"""The embedded SeaweedFS, the object store, with its S3 gateway."""

import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from deploy.embedded.ports import HOST, PARTNER, choose_ports
from deploy.embedded.seaweedfs_keys import write_security
from deploy.embedded.server_process import START_S, Server, environment, missing
from deploy.private_files import write_private
from deploy.processes.supervisor import Program, StartFailed, start

PORT_NAMES = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
)
SWITCHED_OFF = (
    "-admin.ui=false",
    "-webdav=false",
    "-master.telemetry=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.iam=false",
    "-disableHttp",  # master and filer need no HTTP: the S3 gateway uses gRPC
)
OWN_SOCKETS = ("-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock")
"""The paths of these sockets are relative to the working directory, because the path of a Unix
socket has at most 107 bytes.
"""
DATA, IDENTITIES = "data", "s3.json"
"""These paths are relative to the working directory, because SeaweedFS splits paths at commas, and
ends if a path is not UTF-8.
"""
READINESS_KEY = ".readiness"


def find_binary() -> Path:
    """Return the path of the server's program. Raises StartFailed if it is not installed."""
    beside_python = Path(sys.executable).with_name("weed")
    found = beside_python if beside_python.is_file() else shutil.which("weed")
    if found is None:
        raise missing("SeaweedFS", "ATTACHMENTS_S3_BUCKET")
    return Path(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """The address to which SeaweedFS posts its events, and the bearer token that it sends.

    SeaweedFS 4.48 ignores its settings for retries. So an event is lost if the first attempt to
    deliver it fails.
    """

    url: str
    token: str = field(repr=False)


@dataclass(kw_only=True)
class EmbeddedSeaweedFS(Server):
    """A SeaweedFS server with one bucket. `ports` has a port for each name in PORT_NAMES."""

    name: str = field(default="seaweedfs", init=False)
    ports: Mapping[str, int] = field(default_factory=lambda: choose_ports(PORT_NAMES))
    access_key_id: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_access_key: str = field(default_factory=secrets.token_hex, repr=False)
    bucket: str = "attachments"
    region: str = "us-east-1"
    webhook: Webhook | None = None

    @property
    def url(self) -> str:
        """The address of the S3 endpoint."""
        return f"http://{HOST}:{self.ports['s3.port']}"

    async def start(self) -> None:
        """Run the server and wait until the bucket accepts objects. Raises StartFailed."""
        binary = find_binary()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.directory / DATA).mkdir(exist_ok=True, mode=0o700)
        write_private(self.directory / IDENTITIES, self._identities())
        self._write_notification()
        write_security(self.directory, HOST)
        self._forget_sockets()
        self._check_sockets()
        ports = [f"-{name}={port}" for name, port in self.ports.items()]
        argv = (
            # Without -logtostderr, SeaweedFS writes log files to the system's temporary directory.
            str(binary),
            "-logtostderr=true",
            "mini",
            f"-dir={DATA}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            f"-s3.config={IDENTITIES}",
            *ports,
            # SeaweedFS's own worker expects this port to be admin.port plus PARTNER.
            f"-admin.port.grpc={self.ports['admin.port'] + PARTNER}",
            "-volume.preStopSeconds=0",
            *OWN_SOCKETS,
            *SWITCHED_OFF,
        )
        program = Program(
            name=self.name,
            argv=argv,
            cwd=self.directory,
            env=environment(self.directory),
            log=self.log_file,
        )
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            self.child = await start(program, lambda: self._takes_objects(session), START_S)

    async def stop(self, grace_s: float = 3.0) -> None:
        """Stop the server; kill it if it still runs after `grace_s` seconds."""
        await super().stop(grace_s)
        self._forget_sockets()

    def kill(self) -> None:
        """Kill the server; it ends as in a crash."""
        super().kill()
        self._forget_sockets()

    def _identities(self) -> str:
        key = {"accessKey": self.access_key_id, "secretKey": self.secret_access_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "attachments", "credentials": [key], "actions": actions}
        return json.dumps({"identities": [identity]})

    def _write_notification(self) -> None:
        # SeaweedFS looks for a file of this name in its working directory.
        path = self.directory / "notification.toml"
        if self.webhook is None:
            path.unlink(missing_ok=True)
            return
        options = {
            "enabled": True,
            "endpoint": self.webhook.url,
            "bearer_token": self.webhook.token,
            "timeout_seconds": 10,
            "max_retries": 10,
            "backoff_seconds": 1,
            "max_backoff_seconds": 30,
            "workers": 5,
            "buffer_size": 10000,
        }
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in options.items()]
        write_private(path, "".join(["[notification.webhook]\n", *lines]))

    def _sockets(self) -> list[Path]:
        # The gRPC servers create sockets in /tmp even if TMPDIR is set, and do not always remove
        # them.
        ports = (*self.ports.values(), self.ports["admin.port"] + PARTNER)
        temporary = Path("/tmp")  # noqa: S108 - SeaweedFS's choice
        return [path for port in ports for path in temporary.glob(f"seaweedfs-*-{port}.sock")]

    def _forget_sockets(self) -> None:
        for path in self._sockets():
            with suppress(OSError):
                path.unlink()

    def _check_sockets(self) -> None:
        # The servers inside SeaweedFS connect to each other through these sockets. If another user
        # made such a socket, the servers would connect to that user.
        for path in self._sockets():
            raise StartFailed(f"{path} belongs to another user: remove it")

    async def _takes_objects(self, session: aiohttp.ClientSession) -> bool:
        try:
            return (
                await self._request(session, "PUT", self.bucket) in (200, 409)
                and await self._request(session, "PUT", f"{self.bucket}/{READINESS_KEY}") == 200
                and await self._request(session, "DELETE", f"{self.bucket}/{READINESS_KEY}") == 204
            )
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _request(self, session: aiohttp.ClientSession, method: str, path: str) -> int:
        request = AWSRequest(method=method, url=f"{self.url}/{path}", data=b"")
        credentials = Credentials(self.access_key_id, self.secret_access_key)
        S3SigV4Auth(credentials, "s3", self.region).add_auth(request)
        async with session.request(
            method, f"{self.url}/{path}", headers=dict(request.headers)
        ) as answer:
            await answer.read()
            return answer.status
