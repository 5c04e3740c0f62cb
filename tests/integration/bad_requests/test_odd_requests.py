"""Unusual but allowed values: the service stores them unchanged."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.data.bad_bodies import MAX_SIZE
from tests.support.bad_requests import PATH, Target
from tests.support.service import Service, until

NAMES = {
    "row18-climbing": "../../etc/passwd",
    "row18-climbing-encoded": "..%2f..%2fa.png",
    "row18-absolute": "/etc/passwd",
    "row18-backslashes": "C:\\Windows\\..\\a.png",
    "row18-dots": "..",
    "row18-dot": ".",
    "row18-hidden": ".htaccess",
    "row18-thumb": "../thumb/a.png",
    "row19-filename-variable": "${filename}",
    "row19-filename-variable-at-end": "img-${filename}",
    "row19-filename-variable-of-a-shell": "$(id)`id`.png",
    "row22-right-to-left-override": "photo\u202egpj.dat",
    "row22-zero-width": "a\u200bb\u200d.png",
    "row22-byte-order-mark": "\ufeffa.png",
    "row22-line-separator": "a\u2028b.png",
    "row22-escape": "\x1b[31mred.png",
    "row22-markup": "<img src=x onerror=alert(1)>.png",
    "row22-quotes": "a\"b'c;d=e.png",
    "row21-255-wide-characters": "𝒜" * 255,
    "row35-sql": "'; DROP TABLE attachments;--.png",
    "row35-format": "%s%n{0}{name}.png",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_an_odd_name_is_a_label_and_the_key_is_safe(target: Target, name: str) -> None:
    created = await target.client.create(name)
    resource = created["data"]
    folder = f"{int(resource['id']):09}"
    policy = resource["attributes"]["aws_policy"]
    assert resource["attributes"]["name"] == name
    assert (await target.client.show(resource["id"]))["attributes"]["name"] == name
    prefix = f"attachments/files/{folder[:3]}/{folder[3:6]}/{folder[6:]}/original/"
    file_name = policy["key"].removeprefix(prefix)
    assert 0 < len(file_name) <= 180
    assert file_name.strip(".")
    assert file_name.isascii()
    assert not set(file_name) - set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    )
    conditions = json.loads(base64.b64decode(policy["policy"]))["conditions"]
    assert {"key": policy["key"]} in conditions
    assert not [rule for rule in conditions if isinstance(rule, list) and "$key" in rule]


async def test_row22_a_name_is_escaped_in_the_header_that_names_the_download(
    service: Service,
) -> None:
    name = 'a\u202e"; filename=evil.exe\u200b.txt'
    attachment_id = await service.client.upload(b"text", name)

    async def uploaded() -> bool:
        return (await service.row(attachment_id)).uploaded_at is not None

    await until(uploaded)
    url = (await service.client.show(attachment_id))["attributes"]["url"]
    async with service.client.session.get(url, allow_redirects=False) as answer:
        location = answer.headers["Location"]
    (header,) = parse_qs(urlsplit(location).query)["response-content-disposition"]
    assert header == (
        f'attachment; filename="{created_file_name(url)}"; '
        f"filename*=UTF-8''{quote(name, safe='')}"
    )
    assert header.isascii()


def created_file_name(url: str) -> str:
    """Return the last part of a URL's path, which is the file name."""
    return urlsplit(url).path.rsplit("/", 1)[-1]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"size": 0}, id="row28-zero"),
        pytest.param({"size": MAX_SIZE}, id="row28-the-limit"),
        pytest.param({"size": None, "content_type": None}, id="row28-null"),
        pytest.param({"attachable_id": 2**63 - 1, "attachable_type": "deal"}, id="row27-largest"),
        pytest.param({"message_id": "' OR 1=1 --", "external_id": "%_\\"}, id="row35-literal"),
        pytest.param({"content_type": "image/png; a=b"}, id="row29-parameters"),
    ],
)
async def test_a_value_at_the_edge_is_taken_as_it_is(
    target: Target, attributes: dict[str, Any]
) -> None:
    created = await target.client.create("a.png", **attributes)
    row = await target.service.row(created["data"]["id"])
    assert {name: getattr(row, name) for name in attributes} == attributes


READ_ONLY: dict[str, Any] = {
    "id": "5",
    "url": "https://evil.example/",
    "thumb": "https://evil.example/",
    "resized": True,
    "created_at": "1999-01-01T00:00:00.000Z",
    "deleted_at": "1999-01-01T00:00:00.000Z",
    "state": "ready",
    "organization_id": 1,
    "creator_id": 9,
    "bucket": "b",
    "key": "k",
    "file_name": "../x",
    "aws_policy": {},
    "unknown": {"deep": [1, None]},
    "\0": "\0",
    "": 0,
    "name'; DROP TABLE attachments;--": 1,
}


async def test_row30_read_only_and_unknown_attributes_are_ignored(target: Target) -> None:
    plain = await target.client.create("a.png")
    created = await target.client.create("a.png", **READ_ONLY)
    row, usual = [await target.service.row(document["data"]["id"]) for document in (created, plain)]
    same = (
        "organization_id",
        "creator_id",
        "bucket",
        "file_name",
        "state",
        "resized",
        "deleted_at",
    )
    assert [getattr(row, name) for name in same] == [getattr(usual, name) for name in same]

    before = await target.service.row(row.id)
    answer = await target.client.request(
        "PATCH",
        f"{PATH}/{row.id}",
        {
            "data": {
                "type": "attachments",
                "attributes": {**READ_ONLY, "size": "x", "content_type": 5},
                "relationships": {"organization": {"data": {"type": "organizations", "id": "1"}}},
            }
        },
    )
    assert answer.status == 200
    assert await target.service.row(row.id) == before
