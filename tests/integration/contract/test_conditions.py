"""Tests of the contract: entity tags, and requests with If-None-Match and If-Match."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.conditions import row_tag
from shared.attachments import FIELDS, Attachment
from shared.documents import INCLUDABLE, Documents
from shared.styles import Style, write_styles
from tests.data.images import gradient_photo
from tests.support.listing import ATTACHED
from tests.support.resources import PATH, body
from tests.support.service import Answer, Client, Service
from tests.support.starting import StartService


async def get(client: Client, attachment_id: str, query: str = "", **headers: str) -> Answer:
    """Request an attachment. `headers` are written with `_` in place of `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.request("GET", f"{PATH}/{attachment_id}{query}", headers=sent)


async def test_a_tag_is_strong_and_the_same_for_all_forms_of_one_state(client: Client) -> None:
    made = await client.request("POST", PATH, body(ATTACHED[0]))
    attachment_id = made.data["id"]
    tag = made.headers["ETag"]

    shown = await get(client, attachment_id)
    fields = await get(client, attachment_id, "?fields[attachments]=name&include=task")
    zipped = await get(client, attachment_id, Accept_Encoding="gzip")
    patched = await client.request(
        "PATCH", f"{PATH}/{attachment_id}", body({"name": ATTACHED[0]["name"]}, attachment_id)
    )

    assert tag == f'"{tag[1:-1]}"'
    assert [each.headers["ETag"] for each in (shown, fields, zipped, patched)] == [tag] * 4


@pytest.mark.parametrize("given", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_copy_that_is_current_is_not_sent_again(client: Client, given: str) -> None:
    attachment_id = (await client.create())["data"]["id"]
    shown = await get(client, attachment_id)
    tag = shown.headers["ETag"]

    answer = await get(client, attachment_id, If_None_Match=given.format(tag))

    assert (answer.status, answer.body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert answer.headers[name] == shown.headers[name]
    assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_a_copy_that_is_old_is_replaced(working: Service) -> None:
    client = working.client
    attachment_id = await client.upload(gradient_photo(), "a.jpg")
    await client.settled(attachment_id)
    seen = {(await get(client, attachment_id)).headers["ETag"]}

    for attributes in ({"name": "b.jpg"}, {"message_id": "m"}, {"attachable_id": 4}):
        await client.request("PATCH", f"{PATH}/{attachment_id}", body(attributes, attachment_id))
        answer = await get(client, attachment_id, If_None_Match=", ".join(seen))
        assert answer.status == 200
        seen.add(answer.headers["ETag"])
    assert len(seen) == 4


async def test_new_links_make_a_copy_old_but_forbid_no_change(start_service: StartService) -> None:
    first = await start_service()
    second = await start_service(files_secret="another secret of the files")
    made = (await first.client.create())["data"]["id"]
    await first.execute("UPDATE attachments SET uploaded_at = now()")
    other = replace(
        second.client,
        token=first.client.token,
        organization_id=first.client.organization_id,
    )
    tag = (await get(first.client, made)).headers["ETag"]

    assert (await get(first.client, made, If_None_Match=tag)).status == 304
    assert (await get(other, made, If_None_Match=tag)).status == 200
    answer = await other.request(
        "PATCH", f"{PATH}/{made}", body({"name": "b"}, made), headers={"If-Match": tag}
    )
    assert answer.status == 200


async def test_links_that_end_are_renewed_in_a_copy(start_service: StartService) -> None:
    service = await start_service(files_ttl="3600")
    links = Documents(service.settings).links
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)

    assert links.form(now, "", now) != links.form(later, "", now)
    assert links.form(now, "", None) == links.form(later, "", None)
    assert links.form(now, "", now) != links.form(now, "https://other.example", now)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_change_of_an_old_state_is_refused(client: Client, method: str) -> None:
    made = (await client.create())["data"]["id"]
    path, old = f"{PATH}/{made}", (await get(client, made)).headers["ETag"]
    renamed = await client.request("PATCH", path, body({"name": "b"}, made))
    new = renamed.headers["ETag"]
    sent = body({"name": "c"}, made) if method == "PATCH" else None

    for given in (old, f"W/{new}", "not quoted", '""'):
        answer = await client.request(method, path, sent, headers={"If-Match": given})
        assert answer.status == 412, given
        assert answer.document["errors"][0]["title"] == "Precondition Failed"
        assert answer.document["errors"][0]["source"] == {"header": "If-Match"}
    for given in (new, "*"):
        answer = await client.request(method, path, sent, headers={"If-None-Match": given})
        assert answer.status == 412, given
    assert (await client.show(made))["attributes"]["name"] == "b"

    answer = await client.request(method, path, sent, headers={"If-Match": f"{old}, {new}"})
    assert answer.status in (200, 204)
    again = await client.request(method, path, sent, headers={"If-Match": "*"})
    assert again.status == (404 if method == "DELETE" else 200)


async def test_of_many_changes_of_one_state_one_succeeds(client: Client) -> None:
    made = (await client.create())["data"]["id"]
    tag = (await get(client, made)).headers["ETag"]

    answers = await asyncio.gather(
        *(
            client.request(
                "PATCH", f"{PATH}/{made}", body({"name": f"{n}"}, made), headers={"If-Match": tag}
            )
            for n in range(8)
        )
    )

    assert sorted(answer.status for answer in answers) == [200, *[412] * 7]


STYLES = {
    style: Style(name="a", edge=320, width=320, height=240, etag="e")
    for style in ("thumb", "small")
}
CHANGES: dict[str, Any] = {
    "styles": write_styles({"thumb": STYLES["thumb"]}),
    "thumbnail_name": "thumb.webp",
    "attachable_type": "task",
    "limit_types": ["image/*"],
    "state": "failed",
    "reason": "missing",
    "resized": True,
}
"""New values for some columns. For the other columns, `changed` itself chooses a value."""


NUMBERS = ("width", "height", "pages", "limit_size", "size", "creator_id", "attachable_id")


def changed(row: Attachment, name: str) -> Attachment:
    """Return a copy of the row with another value in one column."""
    value = getattr(row, name)
    if name in CHANGES:
        value = CHANGES[name]
    elif name.endswith("_at"):
        value = datetime(2020, 1, 1, tzinfo=UTC)
    elif isinstance(value, bool):
        value = not value
    elif isinstance(value, int) or name in NUMBERS:
        value = 4711
    else:
        value = "other"
    return replace(row, **{name: value})


async def test_whatever_changes_what_is_shown_changes_the_tag(service: Service) -> None:
    client = service.client
    made = (await client.create(attachable_type="comment", attachable_id=1))["data"]["id"]
    await service.execute(
        "UPDATE attachments SET state = 'ready', reason = 'damaged', uploaded_at = now(),"
        " resized = true, thumbnail_name = 'a', processed_at = now(), etag = 'e', styles = $1",
        write_styles(STYLES),
    )
    row = await service.row(made)
    documents = Documents(service.settings)

    def shown(row: Attachment) -> Any:
        return documents.resource(row, origin="", now=row.created_at, include=sorted(INCLUDABLE))

    for name in FIELDS:
        other = changed(row, name)
        if shown(other) != shown(row):
            assert row_tag(other) != row_tag(row), name
    assert shown(replace(row, etag="x")) != shown(row)
    row = replace(row, styles=None)
    assert row_tag(replace(row, due_at=None, attempt=7, etag="x")) == row_tag(row)
