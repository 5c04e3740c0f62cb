"""The typed client that openapi-python-client generates from the OpenAPI document can upload."""

import asyncio
import sys
from pathlib import Path

import pytest

from api.openapi.description import rendered
from tests.data.images import gradient_photo
from tests.support.service import Service

CONFIG = "package_name_override: attachments_client\npost_hooks: []\n"

PROGRAM = '''\
"""Upload a photo with the generated client, wait until it is ready, and print its size and type."""

import sys

import httpx

from attachments_client import AuthenticatedClient
from attachments_client.api.attachments import create_attachment, show_attachment
from attachments_client.models import (
    AttachableType,
    AttachmentDocument,
    CreatedDocument,
    NewAttachment,
    NewAttachmentAttributes,
    NewAttachmentDocument,
    Policy,
    State,
)

api_url, token, organization, path = sys.argv[1:]
client = AuthenticatedClient(base_url=api_url, token=token).with_headers(
    {"X-Organization-Id": organization}
)
attributes = NewAttachmentAttributes(
    name="photo.jpg", attachable_type=AttachableType.TASK, attachable_id=5
)
body = NewAttachmentDocument(data=NewAttachment(type_="attachments", attributes=attributes))
created = create_attachment.sync(client=client, body=body, idempotency_key="a key")
assert isinstance(created, CreatedDocument), created
policy = created.data.attributes.aws_policy
assert isinstance(policy, Policy)
with open(path, "rb") as file:
    posted = httpx.post(
        created.meta.upload_url, data=policy.to_dict(), files={"file": ("photo.jpg", file)}
    )
assert posted.status_code == 201, posted.text
shown = show_attachment.sync(created.data.id, client=client, wait="20")
assert isinstance(shown, AttachmentDocument), shown
assert shown.data.meta.state is State.READY
print(shown.data.attributes.size, shown.data.attributes.content_type)
'''


async def run(folder: Path, *command: str | Path) -> str:
    """Run Python with these arguments in a folder, and return its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_a_generated_client_is_typed_strictly_and_uploads(
    working: Service, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    (tmp_path / "openapi.json").write_bytes(rendered())
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "upload.py").write_text(PROGRAM)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(gradient_photo())
    generate = ("-m", "openapi_python_client", "generate", "--path", "openapi.json")
    options = ("--meta", "none", "--config", "config.yaml", "--fail-on-warning")

    await run(tmp_path, *generate, *options, "--output-path", "attachments_client")
    # mypy's results for the installed packages are kept for the next run of the tests.
    kept = getattr(pytestconfig, "cache", None)
    cached = f"--cache-dir={kept.mkdir('mypy') if kept else tmp_path / 'mypy'}"
    checked = await run(
        tmp_path, "-m", "mypy", "--strict", cached, "upload.py", "attachments_client"
    )
    assert "no issues found in" in checked
    client = working.client
    uploaded = await run(
        tmp_path, "upload.py", working.base_url, client.token, str(client.organization_id), photo
    )

    assert uploaded.split() == [str(photo.stat().st_size), "image/jpeg"]
    listed = await client.request("GET", "/api/v2/attachments?filter[task_id]=5")
    assert "photo.jpg" in [each["attributes"]["name"] for each in listed.data]
