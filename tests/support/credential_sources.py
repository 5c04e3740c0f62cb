"""Sources of AWS credentials on this machine; a test sets how long the credentials are valid.

One HTTP server answers like the container endpoint of ECS and like the metadata service of EC2. A
script prints the same credentials, as a credential process does.
"""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

IMDS = "/latest/meta-data/iam/security-credentials/"


class CredentialSource:
    """An HTTP server that returns AWS credentials.

    `lives_s` is the lifetime of the credentials in seconds. While `away` is true, the server
    answers with 500.
    """

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key, self._secret_key = access_key, secret_key
        self.lives_s: list[float] = [7200]
        self.away = False
        self.asked = 0
        self.ends_at = datetime.now(UTC)
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/container", self._give)
        app.router.add_put("/latest/api/token", self._token)
        app.router.add_get(IMDS, self._role)
        app.router.add_get(f"{IMDS}the-role", self._give)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._runner is not None
        await self._runner.cleanup()

    def container(self) -> dict[str, str]:
        """Return the variables that select this server as the container endpoint of ECS."""
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/container"}

    def instance(self) -> dict[str, str]:
        """Return the variables that select this server as the metadata service of EC2."""
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}

    def process(self, folder: Path) -> dict[str, str]:
        """Write an AWS profile with a credential process, and return the variables that select the
        profile.
        """
        script = folder / "credentials.py"
        script.write_text(
            f"""import json, urllib.request
found = json.load(urllib.request.urlopen("{self.url}/container"))
print(json.dumps({{
    "Version": 1, "AccessKeyId": found["AccessKeyId"], "Expiration": found["Expiration"],
    "SecretAccessKey": found["SecretAccessKey"], "SessionToken": found["Token"],
}}))
"""
        )
        config = folder / "config"
        config.write_text(
            f"[profile the-process]\ncredential_process = {sys.executable} {script}\n"
        )
        return {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "the-process"}

    def environment(self, service: Mapping[str, str], source: Mapping[str, str]) -> dict[str, str]:
        """Return a service's environment with the AWS variables replaced by `source`."""
        kept = {name: value for name, value in service.items() if not name.startswith("AWS_")}
        return {**kept, **source}

    async def _token(self, _: web.Request) -> web.Response:
        return web.Response(text="a-token-of-the-service", status=500 if self.away else 200)

    async def _role(self, _: web.Request) -> web.Response:
        return web.Response(text="the-role", status=500 if self.away else 200)

    async def _give(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.away:
            return web.Response(status=500)
        lives_s = self.lives_s.pop(0) if len(self.lives_s) > 1 else self.lives_s[0]
        self.ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=lives_s)
        document = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": self._access_key,
            "SecretAccessKey": self._secret_key,
            "Token": "a-session-token",
            "Expiration": self.ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return web.Response(text=json.dumps(document), content_type="application/json")


@asynccontextmanager
async def running_source(access_key: str, secret_key: str) -> AsyncIterator[CredentialSource]:
    """Run a credential server that returns the given keys."""
    source = CredentialSource(access_key, secret_key)
    await source.start()
    try:
        yield source
    finally:
        await source.stop()
