"""The requests and answers in `deploy/docs` are those that the service accepts and sends."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image

from api.attributes import CREATABLE
from deploy.doctor.posting import cors_rules
from shared.attachable_types import ATTACHABLE_TYPES
from tests.support.service import Service
from tests.support.stack import BUCKET

ROOT = Path(__file__).parents[2]
CONTRACT = (ROOT / "deploy/docs/contract.md").read_text()
OPERATIONS = (ROOT / "deploy/docs/operations.md").read_text()
PAGE = (ROOT / "deploy/docs/attachment.md").read_text()


DIFFERENT = {
    "id",
    "key",
    "url",
    "thumb",
    "temp_url",
    "upload_url",
    "status_url",
    "created_at",
    "processed_at",
    "expires_at",
    "expiration",
    "x-amz-credential",
    "x-amz-date",
}
"""Names of members whose digits differ from answer to answer."""


def samples(text: str) -> list[Any]:
    """Return the JSON examples of a documentation page."""
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


def general(value: Any, name: str = "") -> Any:
    """Replace the parts of an answer that depend on the service, the file or the time.

    All other parts must agree with the documentation.
    """
    if isinstance(value, dict):
        return {each: general(inner, each) for each, inner in value.items()}
    if isinstance(value, list):
        return [general(each, name) for each in value]
    if name == "policy":
        return general(json.loads(base64.b64decode(value)))
    if name == "size":
        return type(value).__name__
    if not isinstance(value, str):
        return value
    if name in ("x-amz-signature", "checksum_sha256"):
        return re.sub(r"[0-9a-f]", "x", value)
    if name == "thumbhash":
        # another release of a codec may change a pixel by one step
        return re.sub(r"[A-Za-z0-9+/]", "x", value)
    value = re.sub(rf"\b{BUCKET}$", "attachments", value)
    value = re.sub(r"&s=[A-Za-z0-9_-]{24}$", "&s=…", value)
    value = re.sub(r"^http://127\.0\.0\.1:\d+", "http://host", value)
    if name == "x-amz-credential":
        value = re.sub("^[^/]+", "key", value)
    return re.sub(r"\d+", "0", value) if name in DIFFERENT else value


def shape(value: Any) -> str:
    """Return an answer as text, with its members in order, and without the parts that vary."""
    return json.dumps(general(value), indent=1)


async def test_the_samples_are_the_answers_that_a_client_gets(working: Service) -> None:
    request, created, ready = samples(PAGE)
    client = working.client
    answer = await client.request("POST", "/api/v2/attachments", request)
    assert answer.status == 201
    assert shape(answer.document) == shape(created)

    photo = io.BytesIO()
    Image.linear_gradient("L").resize((800, 600)).convert("RGB").save(photo, "JPEG")
    await client.post_file(answer.document, photo.getvalue())
    attachment_id = answer.data["id"]
    await client.settled(attachment_id)
    (address,) = re.findall(r"`GET (/api/v2/attachments/1[^`]*)`", PAGE)
    shown = await client.request("GET", address.replace("/1?", f"/{attachment_id}?"))
    assert shown.status == 200
    assert shape(shown.document) == shape(ready)


def test_the_contract_names_the_attributes_of_create() -> None:
    table = CONTRACT.partition("| attribute | what may be sent |\n")[2].partition("\n\n")[0]
    rows = [line.split(" | ", 1) for line in table.splitlines()[1:]]
    named = [name for first, _ in rows for name in re.findall(r"`(\w+)`", first)]
    assert sorted(named) == sorted(CREATABLE)
    (types,) = (text for first, text in rows if "`attachable_type`" in first)
    assert tuple(re.findall(r"`(\w+)`", types)) == ATTACHABLE_TYPES


def test_operations_show_the_rule_for_cors_that_the_doctor_gives() -> None:
    assert cors_rules("https://your.site") in samples(OPERATIONS)
