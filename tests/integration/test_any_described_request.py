"""schemathesis makes requests from the OpenAPI document, and checks the answers against it."""

import asyncio
import copy
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from api.openapi.shapes import BULK
from api.problems import MEDIA_TYPE
from tests.support.described import description, resolved
from tests.support.receiver import PATH, SETTINGS
from tests.support.service import Client
from tests.support.stack import EVENTS_TOKEN
from tests.support.starting import StartService

CONFIG = Path(__file__).parents[1] / "data/schemathesis.toml"

KEPT = {"id", "state", "external_id", "created_at"}
"""The filters that the requests use.

The API parses all filters with the same code, so requests with more filters would only take time.
"""


def adapted() -> Any:
    """Return the OpenAPI document, changed so that schemathesis can use it."""
    found = copy.deepcopy(description())
    attachments = found["paths"]["/api/v2/attachments"]
    # schemathesis ignores parameters of media types. So it cannot know whether an answer has
    # `ext=bulk`, and both schemas are allowed.
    bodies = attachments["post"]["responses"]["201"]["content"]
    either = [bodies.pop(BULK)["schema"], bodies[MEDIA_TYPE]["schema"]]
    bodies[MEDIA_TYPE] = {"schema": {"anyOf": either}}
    parameters = attachments["get"]["parameters"]
    attachments["get"]["parameters"] = [each for each in parameters if is_kept(resolved(each))]
    return found


def is_kept(parameter: Any) -> bool:
    """Return False for a filter that is not in KEPT, and True for every other parameter."""
    match = re.match(r"filter\[(\w+)\]", parameter["name"])
    return match is None or match[1] in KEPT


async def make_webhook(client: Client) -> str:
    """Create a webhook and return its id."""
    attributes = {"target_url": "https://receiver.example/hook"}
    answer = await client.request(
        "POST", PATH, {"data": {"type": "webhooks", "attributes": attributes}}
    )
    assert answer.status == 201, answer.body
    return str(answer.data["id"])


async def test_requests_made_from_the_description_get_described_answers(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service(**SETTINGS, rate_limit="0")
    client = service.client
    await client.create()
    webhook = await make_webhook(client)
    sent = await client.request("POST", f"{PATH}/{webhook}/test")
    (tmp_path / "openapi.json").write_text(json.dumps(adapted()))
    environment = {
        **os.environ,
        "TOKEN": client.token,
        "ORGANIZATION": str(client.organization_id),
        "EVENTS_TOKEN": EVENTS_TOKEN,
        "WEBHOOK": webhook,
        "DELIVERY": sent.data["id"],
        "OTHER_WEBHOOK": await make_webhook(client),
    }

    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "st",
        f"--config-file={CONFIG}",
        "--no-color",
        "run",
        "openapi.json",
        f"--url={service.base_url}",
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    # If the configuration is faulty or the API is unreachable, the run must not count as a success.
    tested = re.search(r"Tested: (\d+)", output.decode())
    assert tested is not None
    assert int(tested[1]) == len([*all_operations()])
    assert "Authentication failed" not in output.decode()


def all_operations() -> list[str]:
    """Return the ids of all operations in the OpenAPI document."""
    return [
        each["operationId"]
        for path in description()["paths"].values()
        for each in path.values()
        if isinstance(each, dict)
    ]
