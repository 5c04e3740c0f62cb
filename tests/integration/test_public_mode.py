"""The public mode: nobody can make the store serve content that a browser runs."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest_asyncio

from shared.content_types import INLINE, RUN_BY_BROWSERS, essence, is_run_by_browsers
from tests.data.images import gradient_photo
from tests.support.resources import PATH, body, invalid, open_bucket
from tests.support.service import MEDIA_TYPE, Service
from tests.support.starting import StartService, StartWorker

BULK = f"{MEDIA_TYPE}; ext=bulk"
PAGE = b"<html><script>alert(1)</script></html>"
OCTETS = "binary/octet-stream"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PINNED = {
    "a.jpg": "image/jpeg",
    "a.JPEG": "image/jpeg",
    "a.png": "image/png",
    "a.gif": "image/gif",
    "a.webp": "image/webp",
    "a.avif": "image/avif",
    "a.pdf": "application/pdf",
    "a.png.html": OCTETS,
    "png": OCTETS,
    "a.txt": OCTETS,
}
"""File names without a declared type, each with the type that its policy requires."""


@pytest_asyncio.fixture
async def public(start_service: StartService) -> Service:
    """Start an API in the public mode."""
    return await start_service(files_public="true", files_url="https://files.example")


async def served_type(service: Service, key: str) -> str:
    """Return the content type that the store sends for an object."""
    async with open_bucket(service.stack) as bucket:
        answer = await bucket.head_object(Bucket=service.settings.s3_bucket, Key=key)
        return answer["ContentType"]


async def post_part(created: Any, changed: Mapping[str, str], part_type: str) -> int:
    """Post an HTML page with a policy, and return the status.

    `part_type` is the content type of the form's file.
    """
    form = aiohttp.FormData()
    fields = created["data"]["attributes"]["aws_policy"]
    for name, value in fields.items():
        form.add_field(name, value)
    for name, value in changed.items():
        form.add_field(name, value)
    form.add_field("file", PAGE, filename="any.html", content_type=part_type)
    async with (
        aiohttp.ClientSession() as session,
        session.post(created["meta"]["upload_url"], data=form) as answer,
    ):
        return answer.status


VARIANTS = {
    "html": "text/html",
    "capitals": "Text/HTML",
    "parameters": "text/html; charset=utf-8",
    "parameters without a space": "TEXT/HTML;charset=utf-8",
    "xhtml": "application/xhtml+xml",
    "svg": "image/svg+xml",
    "svg in capitals": "image/SVG+XML",
    "any +xml": "application/vnd.unheard-of+xml",
    "+xml with parameters": "application/atom+xml;type=feed",
    "mathml": "application/mathml+xml",
    "sniffed": "unknown/unknown",
    "anything": "*/*",
    **{name: name for name in RUN_BY_BROWSERS},
}


async def test_a_type_that_browsers_run_is_reserved(public: Service) -> None:
    for content_type in VARIANTS.values():
        answer = await public.client.request(
            "POST", PATH, body({"name": "a", "content_type": content_type})
        )
        fault = invalid("data/attributes/content_type", "is reserved", {"value": content_type})
        assert (answer.status, answer.document) == (422, {"errors": [fault]}), content_type


async def test_in_bulk_each_such_type_is_named_and_nothing_is_made(public: Service) -> None:
    items = [
        body({"name": "a", "content_type": content_type})["data"]
        for content_type in ("image/png", "text/html", "image/svg+xml")
    ]

    answer = await public.client.request(
        "POST", PATH, {"data": items}, headers={"Content-Type": BULK, "Accept": BULK}
    )

    assert answer.status == 422
    assert [error["source"]["pointer"] for error in answer.document["errors"]] == [
        "data/1/attributes/content_type",
        "data/2/attributes/content_type",
    ]
    assert (await public.client.request("GET", PATH)).document["meta"]["total_count"] == 0


async def test_other_types_are_taken_and_pinned_as_declared(public: Service) -> None:
    for content_type in (*INLINE, "text/plain", "text/css", "application/zip", "video/mp4", DOCX):
        attributes = (await public.client.create("a", content_type=content_type))["data"][
            "attributes"
        ]

        assert attributes["content_type"] == content_type
        assert attributes["aws_policy"]["Content-Type"] == content_type


async def test_where_the_api_serves_files_such_types_are_taken(service: Service) -> None:
    for content_type in ("text/html", "image/svg+xml"):
        created = await service.client.create("a", content_type=content_type)
        assert created["data"]["attributes"]["aws_policy"]["Content-Type"] == content_type


NAMES = ("a.html", "a.HTM", "a.svg", "a.xhtml", "a.xml", "a.js", "a.mht", "a.ｈｔｍｌ", "a")


async def test_a_name_makes_no_store_serve_a_page(public: Service) -> None:
    for name in NAMES:
        for declared in ({}, {"content_type": "application/octet-stream"}):
            created = await public.client.create(name, **declared)

            assert await post_part(created, {}, "text/html") == 201

            key = created["data"]["attributes"]["aws_policy"]["key"]
            assert await served_type(public, key) == OCTETS, (name, declared)


async def test_a_form_makes_no_store_serve_a_page(public: Service) -> None:
    for name in ("a.html", "a.png", "a.bin"):
        created = await public.client.create(name)
        fields = created["data"]["attributes"]["aws_policy"]

        for header in ("Content-Type", "content-type"):
            if await post_part(created, {header: "text/html"}, "text/html") == 201:
                assert await served_type(public, fields["key"]) == fields["Content-Type"]
        del fields["Content-Type"]
        assert await post_part(created, {}, "text/html") == 403


async def test_without_a_declared_type_images_and_pdf_are_pinned_by_their_names(
    public: Service,
) -> None:
    for name, content_type in PINNED.items():
        attributes = (await public.client.create(name))["data"]["attributes"]

        assert attributes["content_type"] is None
        assert attributes["aws_policy"]["Content-Type"] == content_type, name


async def test_an_object_that_is_copied_loses_the_type_of_its_source(public: Service) -> None:
    bucket, client = public.settings.s3_bucket, public.client
    async with open_bucket(public.stack) as store:
        await store.put_object(
            Bucket=bucket, Key="uploads/page", Body=PAGE, ContentType="text/html"
        )
    url = f"{public.settings.upload_url}/uploads/page"

    made = await client.create("a.html", temp_url=url)
    patched = await client.create("b.png")
    answer = await client.request(
        "PATCH",
        f"{PATH}/{patched['data']['id']}",
        body({"temp_url": url}, patched["data"]["id"]),
    )

    assert answer.status == 200
    assert await served_type(public, made["data"]["attributes"]["aws_policy"]["key"]) == OCTETS
    key = patched["data"]["attributes"]["aws_policy"]["key"]
    assert await served_type(public, key) == "image/png"


async def served_cache(service: Service, key: str) -> str:
    """Return the Cache-Control header that the store sends for an object."""
    async with open_bucket(service.stack) as bucket:
        answer = await bucket.head_object(Bucket=service.settings.s3_bucket, Key=key)
        return answer["CacheControl"]


async def test_every_object_has_a_cache_time_for_a_cdn(
    public: Service, start_worker: StartWorker
) -> None:
    await start_worker(public)
    client, bucket = public.client, public.settings.s3_bucket
    async with open_bucket(public.stack) as store:
        await store.put_object(
            Bucket=bucket, Key="uploads/photo", Body=gradient_photo(), CacheControl="no-store"
        )
    posted = await client.upload(gradient_photo(), "a.jpg")
    url = f"{public.settings.upload_url}/uploads/photo"
    copied = (await client.create("b.jpg", temp_url=url))["data"]["id"]

    for attachment_id in (posted, copied):
        assert (await client.settled(attachment_id))["attributes"]["resized"]
        row = await public.row(attachment_id)
        assert row.thumbnail_key is not None
        for key in (row.key, row.thumbnail_key):
            assert await served_cache(public, key) == "public, max-age=86400, immutable"


async def test_nobody_chooses_how_long_an_object_may_be_kept(public: Service) -> None:
    created = await public.client.create("a.bin")
    fields = created["data"]["attributes"]["aws_policy"]
    assert fields["Cache-Control"] == "public, max-age=86400, immutable"

    for value in ("no-store", None):
        status, _ = await public.client.post_file(created, PAGE, changed={"Cache-Control": value})
        assert status == 403


async def test_if_the_api_serves_files_the_policy_has_no_cache_field(
    service: Service,
) -> None:
    created = await service.client.create("a.bin")

    assert "Cache-Control" not in created["data"]["attributes"]["aws_policy"]


def test_no_inline_type_is_one_that_browsers_run() -> None:
    assert not any(is_run_by_browsers(content_type) for content_type in INLINE)
    assert all(essence(content_type) == content_type for content_type in RUN_BY_BROWSERS)
