"""Each example backend gives an upload ticket to a page, and receives the file's state by a
webhook."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.embedded.ports import choose_port
from tests.data.images import gradient_photo
from tests.support.browser import UploadView, running_browser
from tests.support.chromium import CHROMIUM
from tests.support.local import ROOT
from tests.support.service import until
from tests.support.up import Up, running

EXAMPLES = ROOT / "deploy/examples"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install chromium")

needs_node = pytest.mark.skipif(NODE is None, reason="node is missing: install Node.js")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run a local stack that may send webhooks to this machine, with the documented settings."""
    port = choose_port()
    settings = {
        "ATTACHMENTS_API_URL": f"http://127.0.0.1:{port}",
        "ATTACHMENTS_WEBHOOK_ALLOW_HTTP": "true",
        "ATTACHMENTS_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    folder = tmp_path_factory.mktemp("up") / "data"
    with running(folder, "--port", str(port), "--decoders", "1", **settings) as up:
        yield up


def secret_of(up: Up, target: str) -> str:
    """Create a webhook by the command line, and return its secret."""
    environment = json.loads((up.data_dir / "environment.json").read_text())
    command = [sys.executable, "-m", "deploy.cli", "webhooks", "create", target]
    run = subprocess.run(
        [*command, "--organization", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return str(json.loads(run.stdout)["secret"])


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, str(EXAMPLES / "backend.py")], id="aiohttp"),
        pytest.param([NODE, str(EXAMPLES / "backend.mjs")], id="node", marks=needs_node),
    ],
)
async def test_a_backend_gives_tickets_and_hears_of_the_file(
    up: Up, tmp_path: Path, command: list[str]
) -> None:
    site = f"http://127.0.0.1:{(port := choose_port())}"
    ready = up.document()
    variables = {
        "ATTACHMENTS_URL": ready["api_url"],
        "ATTACHMENTS_TOKEN": ready["token"],
        "ATTACHMENTS_ORGANIZATION_ID": str(ready["organization_id"]),
        "WEBHOOK_SECRET": secret_of(up, f"{site}/hook"),
    }
    log = (tmp_path / "log").open("w")
    backend = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [*command, str(port)], env={**os.environ, **variables}, stdout=log, stderr=log
    )
    try:
        async with aiohttp.ClientSession() as session, running_browser() as context:

            async def states() -> Any:
                try:
                    async with session.get(f"{site}/states") as answer:
                        return list((await answer.json()).values()) or ["none"]
                except aiohttp.ClientError:
                    return None

            assert await until(states, within_s=30) == ["none"]
            view = UploadView(await context.new_page())
            await view.page.goto(site)
            await view.choose(
                {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": gradient_photo()}
            )
            assert await view.ended(1) == ["done"]

            async def heard() -> bool:
                return bool(await states() == ["ready"])

            await until(heard, within_s=30)
            async with session.post(f"{site}/hook", data=b"{}") as forged:
                assert forged.status == 403
    finally:
        backend.kill()
        backend.wait()
        log.close()
