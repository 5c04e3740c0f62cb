"""Bad requests, by the rows of the bad-input matrix: each is refused in so many words, and that
is all it does."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from api import bodies
from shared.tokens import list_tokens, revoke_token
from tests.support.databases import clone_database
from tests.support.service import MEDIA_TYPE, Answer, Client, Service, running_service, until
from tests.support.stack import Stack
from tests.support.starting import StartService

PATH = "/api/v2/attachments"
BULK = f"{MEDIA_TYPE}; ext=bulk"
MAX_SIZE = 314_572_800

# status → titles, and the detail where there is but one (contract.md, "General errors")
WORDS: dict[int, tuple[set[str], str | None]] = {
    400: ({"Bad Request", "Unsupported Filter", "Unsupported Sort", "Unsupported Include"}, None),
    401: ({"Unauthenticated"}, "You are not authenticated"),
    403: ({"Access Denied"}, None),
    404: ({"Record Not Found"}, "The requested record was not found"),
    405: ({"Method Not Allowed"}, None),
    406: ({"Not Acceptable"}, "The request was not accepted"),
    408: ({"Request Timeout"}, None),
    409: ({"Conflict"}, None),
    413: ({"Payload Too Large"}, None),
    415: ({"Unsupported Media Type"}, "Unsupported content type"),
    417: ({"Expectation Failed"}, None),
    422: ({"Invalid Attribute"}, None),
    429: ({"Too Many Requests"}, None),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """An API that holds one attachment of the caller's and one of another organization's."""

    service: Service
    mine: str
    theirs: str

    @property
    def client(self) -> Client:
        """The caller."""
        return self.service.client

    async def rows(self) -> list[str]:
        """Read everything that is stored."""
        found = await self.service.database.fetch("SELECT a::text FROM attachments AS a ORDER BY 1")
        return [row[0] for row in found]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(stack: Stack) -> AsyncIterator[Target]:
    """One API for the whole module: nothing that is refused leaves a trace."""
    async with running_service(stack, await clone_database(stack)) as service:
        mine = await service.client.create("mine.png", attachable_type="comment", attachable_id=3)
        other = await service.organization()
        theirs = await other.create("theirs.png", attachable_type="comment", attachable_id=3)
        yield Target(service=service, mine=mine["data"]["id"], theirs=theirs["data"]["id"])


@pytest_asyncio.fixture(loop_scope="session")
async def untouched(target: Target) -> AsyncIterator[Target]:
    """The same, and proof that the test stored and changed nothing."""
    before = await target.rows()
    yield target
    assert await target.rows() == before


def assert_refused(answer: Answer, status: int) -> None:
    """Check that an answer is an error document in the contract's words, and shows no inside."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == f"{MEDIA_TYPE}; charset=utf-8"
    assert answer.document.keys() == {"errors"}
    titles, detail = WORDS[status]
    assert answer.document["errors"]
    for error in answer.document["errors"]:
        assert error["status"] == str(status)
        assert error["title"] in titles
        assert error["detail"] == detail if detail else error["detail"]
        if status == 422:
            assert error["code"] == "invalid_attribute"
            assert error["source"]["pointer"].startswith("data/")
    assert b"Traceback" not in answer.body


def document(**attributes: Any) -> dict[str, Any]:
    """Make the document of a create request."""
    return {"data": {"type": "attachments", "attributes": {"name": "img.png", **attributes}}}


def body_of(**attributes: Any) -> bytes:
    """Make the body of a create request."""
    return json.dumps(document(**attributes)).encode()


def with_size(literal: str) -> bytes:
    """Make the body of a create request with any text where the size stands."""
    return b'{"data":{"type":"attachments","attributes":{"name":"a.png","size":%s}}}' % (
        literal.encode()
    )


# -- what is posted: rows 1 to 29 ---------------------------------------------------------------

BODIES: dict[str, tuple[bytes, int]] = {
    "row01-empty": (b"", 400),
    "row01-blank": (b" \r\n\t", 400),
    "row02-cut-short": (b'{"data":', 400),
    "row02-no-json": (b"name=img.png", 400),
    "row02-trailing-comma": (b'{"data":{},}', 400),
    "row02-single-quotes": (b"{'data': {}}", 400),
    "row02-two-documents": (body_of() * 2, 400),
    "row02-comment": (body_of() + b"// done", 400),
    "row02-raw-newline-in-string": (body_of(name="A").replace(b'"A"', b'"a\nb"'), 400),
    "row02-raw-nul-in-string": (body_of(name="A").replace(b'"A"', b'"a\0b"'), 400),
    "row02-nul-after-document": (body_of() + b"\0", 400),
    "row02-bad-escape": (body_of(name="A").replace(b'"A"', b'"\\x41"'), 400),
    "row02-unquoted-key": (b"{data:{}}", 400),
    "row02-python-literal": (b'{"data": None}', 400),
    "row03-lone-byte": (body_of(name="A").replace(b'"A"', b'"\xff"'), 400),
    "row03-latin-1": (body_of(name="A").replace(b'"A"', b'"caf\xe9"'), 400),
    "row03-overlong": (body_of(name="A").replace(b'"A"', b'"\xc0\xaf"'), 400),
    "row03-encoded-surrogate": (body_of(name="A").replace(b'"A"', b'"\xed\xa0\x80"'), 400),
    "row03-beyond-unicode": (body_of(name="A").replace(b'"A"', b'"\xf4\x90\x80\x80"'), 400),
    "row03-utf-16": (body_of().decode().encode("utf-16-le"), 400),
    "row04-utf-8-bom": (b"\xef\xbb\xbf" + body_of(), 400),
    "row04-utf-16-bom": (body_of().decode().encode("utf-16"), 400),
    "row06-deep-arrays": (b"[" * 30_000, 400),
    "row06-deep-closed-arrays": (b"[" * 30_000 + b"]" * 30_000, 400),
    "row06-deep-objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "row06-deep-in-attribute": (with_size("[" * 20_000 + "]" * 20_000), 400),
    "row06-a-level-too-deep": (b"[" * 65 + b"]" * 65, 400),
    "row06-quotes-do-not-hide-depth": (b'["\\"",' + b"[" * 1000 + b"]" * 1001, 400),
    "row07-5000-digits": (with_size("9" * 5000), 400),
    "row07-5000-digits-negative": (with_size("-" + "9" * 5000), 400),
    "row07-5000-digits-as-id": (
        body_of(attachable_id=1).replace(b": 1}", b": %s}" % (b"1" * 5000)),
        400,
    ),
    "row07-5000-digits-in-unknown": (body_of(x=1).replace(b": 1}", b": %s}" % (b"1" * 5000)), 400),
    "row07-5000-digits-of-fraction-overflow": (with_size("1" * 5000 + ".5"), 400),
    "row08-nan": (with_size("NaN"), 400),
    "row08-infinity": (with_size("Infinity"), 400),
    "row08-minus-infinity": (with_size("-Infinity"), 400),
    "row08-1e400": (with_size("1e400"), 400),
    "row08-minus-1e400": (with_size("-1e400"), 400),
    "row08-1e400-in-unknown": (body_of(x=1).replace(b": 1}", b": 1e400}"), 400),
    "row09-key-twice-at-top": (b'{"data":{},"data":{"type":"attachments"}}', 400),
    "row09-key-twice-in-data": (b'{"data":{"type":"attachments","type":"attachments"}}', 400),
    "row09-key-twice-in-attributes": (
        b'{"data":{"type":"attachments","attributes":{"name":"a","name":"b"}}}',
        400,
    ),
    "row09-key-twice-once-escaped": (
        b'{"data":{"type":"attachments","attributes":{"name":"a","n\\u0061me":"b"}}}',
        400,
    ),
    "row10-array": (b"[%s]" % body_of(), 400),
    "row10-empty-array": (b"[]", 400),
    "row10-null": (b"null", 400),
    "row10-number": (b"1", 400),
    "row10-string": (b'"data"', 400),
    "row10-true": (b"true", 400),
    "row11-no-data": (b"{}", 400),
    "row11-meta-only": (b'{"meta":{}}', 400),
    "row11-data-null": (b'{"data":null}', 400),
    "row11-data-array": (b'{"data":[]}', 400),
    "row11-data-string": (b'{"data":"attachments"}', 400),
    "row11-no-type": (b'{"data":{"attributes":{"name":"img.png"}}}', 400),
    "row11-attributes-null": (b'{"data":{"type":"attachments","attributes":null}}', 400),
    "row11-attributes-array": (b'{"data":{"type":"attachments","attributes":[]}}', 400),
    "row11-no-attributes": (b'{"data":{"type":"attachments"}}', 422),
    "row12-singular": (b'{"data":{"type":"attachment","attributes":{"name":"a"}}}', 409),
    "row12-other": (b'{"data":{"type":"comments","attributes":{"name":"a"}}}', 409),
    "row12-upper-case": (b'{"data":{"type":"Attachments","attributes":{"name":"a"}}}', 409),
    "row12-null": (b'{"data":{"type":null,"attributes":{"name":"a"}}}', 409),
    "row12-object": (b'{"data":{"type":{},"attributes":{"name":"a"}}}', 409),
    "row12-surrogate": (b'{"data":{"type":"\\ud800","attributes":{"name":"a"}}}', 409),
    "row13-client-id": (b'{"data":{"type":"attachments","id":"1","attributes":{"name":"a"}}}', 403),
    "row13-client-id-null": (
        b'{"data":{"type":"attachments","id":null,"attributes":{"name":"a"}}}',
        403,
    ),
    "row17-lf-in-name": (body_of(name="a\nb.png"), 422),
    "row17-cr-in-name": (body_of(name="a\rb.png"), 422),
    "row17-crlf-in-name": (body_of(name="a.png\r\nSet-Cookie: a=b"), 422),
    "row17-nul-in-name": (body_of(name="a.png\0.exe"), 422),
    "row20-lone-high-surrogate": (body_of(name="\ud800.png"), 422),
    "row20-lone-low-surrogate": (body_of(name="a\udfff.png"), 422),
    "row20-surrogates-swapped": (body_of(name="\udc00\ud800"), 422),
    "row20-in-message-id": (body_of(message_id="\ud800"), 422),
    "row20-in-external-id": (body_of(external_id="\ud800"), 422),
    "row20-in-content-type": (body_of(content_type="image/\ud800"), 422),
    "row20-in-attachable-type": (body_of(attachable_type="\ud800"), 422),
    "row20-in-attachment-type": (body_of(attachment_type="\ud800"), 422),
    "row20-in-temp-url": (body_of(temp_url="https://a/\ud800"), 422),
    "row21-10-kb-name": (body_of(name="a" * 10_240), 422),
    "row21-256-characters": (body_of(name="a" * 256), 422),
    "row21-256-wide-characters": (body_of(name="𝒜" * 256), 422),
    "row21-10-kb-message-id": (body_of(message_id="a" * 10_240), 422),
    "row21-10-kb-external-id": (body_of(external_id="a" * 10_240), 422),
    "row21-10-kb-content-type": (body_of(content_type="image/" + "a" * 10_240), 422),
    "row21-10-kb-attachable-type": (body_of(attachable_type="a" * 10_240), 422),
    "row21-10-kb-temp-url": (body_of(temp_url="https://a/" + "a" * 10_240), 422),
    "row23-nul-in-message-id": (body_of(message_id="a\0"), 422),
    "row23-nul-in-external-id": (body_of(external_id="\0"), 422),
    "row23-nul-in-content-type": (body_of(content_type="image/png\0"), 422),
    "row23-nul-in-attachable-type": (body_of(attachable_type="comment\0"), 422),
    "row23-nul-in-attachment-type": (body_of(attachment_type="inline\0"), 422),
    "row23-nul-in-temp-url": (body_of(temp_url="https://a/\0"), 422),
    "row27-size-true": (body_of(size=True), 422),
    "row27-size-false": (body_of(size=False), 422),
    "row27-size-1.0": (body_of(size=1.0), 422),
    "row27-size-1.9": (body_of(size=1.9), 422),
    "row27-size-1e2": (with_size("1e2"), 422),
    "row27-size-word": (body_of(size="12 kB"), 422),
    "row27-size-fraction-as-text": (body_of(size="1.5"), 422),
    "row27-size-arabic-digits": (body_of(size="١٢"), 422),
    "row27-size-41-digits-as-text": (body_of(size="1" * 41), 422),
    "row27-size-array": (body_of(size=[1]), 422),
    "row27-size-object": (body_of(size={}), 422),
    "row27-attachable-id-true": (body_of(attachable_id=True), 422),
    "row27-attachable-id-1.0": (body_of(attachable_id=1.0), 422),
    "row27-attachable-id-word": (body_of(attachable_id="5a"), 422),
    "row27-attachable-id-zero-as-text": (body_of(attachable_id="0"), 422),
    "row27-attachable-id-2-to-the-63-as-text": (body_of(attachable_id=str(2**63)), 422),
    "row27-attachable-id-array": (body_of(attachable_id=[5]), 422),
    "row27-attachable-id-zero": (body_of(attachable_id=0), 422),
    "row27-attachable-id-negative": (body_of(attachable_id=-5), 422),
    "row27-attachable-id-2-to-the-63": (body_of(attachable_id=2**63), 422),
    "row27-name-number": (body_of(name=5), 422),
    "row27-name-object": (body_of(name={"a": 1}), 422),
    "row27-name-true": (body_of(name=True), 422),
    "row27-attachable-type-array": (body_of(attachable_type=["comment"]), 422),
    "row27-message-id-fraction": (body_of(message_id=5.5), 422),
    "row27-external-id-true": (body_of(external_id=True), 422),
    "row27-temp-url-number": (body_of(temp_url=5), 422),
    "row28-negative": (body_of(size=-1), 422),
    "row28-over-the-limit": (body_of(size=MAX_SIZE + 1), 422),
    "row28-2-to-the-63": (body_of(size=2**63), 422),
    "row28-40-digits": (body_of(size=10**39), 422),
    "row28-40-digits-negative": (body_of(size=-(10**38)), 422),
    "row29-reserved": (body_of(content_type="application/x-msdownload"), 422),
    "row29-reserved-upper-case": (body_of(content_type="Application/X-MSDownload"), 422),
    "row29-reserved-parameter": (body_of(content_type="application/x-msdownload; a=b"), 422),
    "row29-reserved-bare-semicolon": (body_of(content_type="application/x-msdownload;"), 422),
    "row29-reserved-blanks": (body_of(content_type="  application/x-msdownload\t; a=b"), 422),
    "row29-reserved-installer": (body_of(content_type="application/x-msi"), 422),
    "row29-reserved-script": (body_of(content_type="application/x-bat"), 422),
    "row29-malformed": (body_of(content_type="image"), 422),
    "row29-malformed-list": (body_of(content_type="image/png, application/x-msdownload"), 422),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
async def test_a_bad_body_is_refused_and_nothing_is_stored(
    untouched: Target, body: bytes, status: int
) -> None:
    assert_refused(await untouched.client.request("POST", PATH, body=body), status)


PATCHABLE = {
    name: value
    for name, value in BODIES.items()
    # where a new attachment differs: no name is needed, an id may stand, size and type are ignored
    if not name.startswith(("row13", "row28", "row29"))
    and "size" not in name
    and "content-type" not in name
    and name not in ("row11-no-attributes",)
}


@pytest.mark.parametrize(("body", "status"), PATCHABLE.values(), ids=PATCHABLE)
async def test_a_bad_body_changes_nothing(untouched: Target, body: bytes, status: int) -> None:
    path = f"{PATH}/{untouched.mine}"
    assert_refused(await untouched.client.request("PATCH", path, body=body), status)


@pytest.mark.parametrize(
    ("count", "content_type", "status"),
    [
        pytest.param(100_000, BULK, 400, id="row06-100k-deep-bulk"),
        pytest.param(100_000, MEDIA_TYPE, 413, id="row06-100k-deep-is-over-the-limit-of-one"),
    ],
)
async def test_100000_arrays_in_each_other_are_refused(
    untouched: Target, count: int, content_type: str, status: int
) -> None:
    answer = await untouched.client.request(
        "POST", PATH, body=b"[" * count, headers={"Content-Type": content_type}
    )
    assert_refused(answer, status)


async def test_every_fault_is_told_in_the_words_of_the_contract(untouched: Target) -> None:
    answer = await untouched.client.request(
        "POST",
        PATH,
        document(
            name="",
            attachable_type="",
            size=MAX_SIZE + 1,
            content_type="application/x-msdownload",
            attachable_id=True,
        ),
    )
    assert_refused(answer, 422)
    assert [
        (error["source"]["pointer"], error["detail"], error["meta"])
        for error in answer.document["errors"]
    ] == [
        ("data/attributes/name", "can't be blank", {}),
        (
            "data/attributes/attachable_type",
            "is not included in the list",
            {"allow_nil": True, "value": ""},
        ),
        (
            "data/attributes/size",
            f"must be less than or equal to {MAX_SIZE}",
            {"allow_nil": True, "value": MAX_SIZE + 1, "count": MAX_SIZE},
        ),
        (
            "data/attributes/content_type",
            "is reserved",
            {"value": "application/x-msdownload"},
        ),
        (
            "data/attributes/attachable_id",
            "is not a number",
            {"allow_nil": True, "value": True},
        ),
    ]


@pytest.mark.parametrize(
    "faulty",
    [
        pytest.param(document(name="")["data"], id="row11-bulk-blank-name"),
        pytest.param(document(size=-1)["data"], id="row28-bulk-negative"),
    ],
)
async def test_one_bad_resource_of_a_bulk_refuses_all(untouched: Target, faulty: Any) -> None:
    answer = await untouched.client.request(
        "POST",
        PATH,
        {"data": [document()["data"], faulty]},
        headers={"Content-Type": BULK, "Accept": BULK},
    )
    assert_refused(answer, 422)
    assert answer.document["errors"][0]["source"]["pointer"].startswith("data/1/attributes/")


# -- headers: rows 5, 14 to 16, 33, 34 ----------------------------------------------------------

CONTENT_TYPES = {
    "row05-unknown-charset": f"{MEDIA_TYPE}; charset=klingon",
    "row05-charset-with-nul": f"{MEDIA_TYPE}; charset=%00",
    "row14-none": "",
    "row14-json": "application/json",
    "row14-text": "text/plain",
    "row14-form": "application/x-www-form-urlencoded",
    "row14-multipart": "multipart/form-data; boundary=a",
    "row14-longer": f"{MEDIA_TYPE}x",
    "row14-no-type": "json",
    "row14-list": f"{MEDIA_TYPE}, {MEDIA_TYPE}",
    "row14-non-ascii": f"{MEDIA_TYPE}é",
    "row15-other-charset": f"{MEDIA_TYPE}; charset=iso-8859-1",
    "row15-q": f"{MEDIA_TYPE};q=1",
    "row15-version": f"{MEDIA_TYPE}; version=1.1",
    "row15-other-extension": f"{MEDIA_TYPE}; ext=other",
    "row15-two-extensions": f'{MEDIA_TYPE}; ext="bulk other"',
}


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_body_of_another_type_is_refused(
    untouched: Target, method: str, content_type: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    answer = await untouched.client.request(
        method, path, body=body_of(), headers={"Content-Type": content_type}
    )
    assert_refused(answer, 415)


ACCEPTS = {
    "row16-html": "text/html",
    "row16-json": "application/json",
    "row16-image": "image/*",
    "row16-charset": f"{MEDIA_TYPE}; charset=utf-8",
    "row16-other-extension": f"{MEDIA_TYPE}; ext=other",
    "row16-q-0": f"{MEDIA_TYPE};q=0",
    "row16-all-but-wanted": "*/*;q=0.0",
    "row16-garbage": "?",
}


@pytest.mark.parametrize("accept", ACCEPTS.values(), ids=ACCEPTS)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_an_accept_that_cannot_be_met_is_refused(
    untouched: Target, method: str, accept: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    body = body_of() if method in ("POST", "PATCH") else None
    answer = await untouched.client.request(method, path, body=body, headers={"Accept": accept})
    assert_refused(answer, 406)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        MEDIA_TYPE,
        f"text/plain, {MEDIA_TYPE};q=0.1",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    ],
)
async def test_a_lenient_accept_is_met(untouched: Target, accept: str) -> None:
    answer = await untouched.client.request("GET", PATH, headers={"Accept": accept})
    assert answer.status == 200


CREDENTIALS: dict[str, Mapping[str, str]] = {
    "row33-none": {"X-Auth-Token": ""},
    "row33-garbage": {"X-Auth-Token": "garbage"},
    "row33-sql": {"X-Auth-Token": "' OR 1=1 --"},
    "row33-garbage-bearer": {"X-Auth-Token": "", "Authorization": "Bearer garbage"},
    "row33-empty-bearer": {"X-Auth-Token": "", "Authorization": "Bearer "},
    "row33-no-scheme": {"X-Auth-Token": "", "Authorization": "{token}"},
    "row33-basic": {"X-Auth-Token": "", "Authorization": "Basic {token}"},
    "row33-token-and-more": {"X-Auth-Token": "{token}x"},
    "row33-two-in-one": {"X-Auth-Token": "{token},{token}"},
    "row33-contradicting": {"Authorization": "Bearer garbage"},
    "row34-bearer-twice": {"X-Auth-Token": "", "Authorization": "Bearer Bearer {token}"},
    "row34-non-ascii": {"X-Auth-Token": "tøken"},
    "row34-non-ascii-bearer": {"X-Auth-Token": "", "Authorization": "Bearer tøken"},
    "row34-non-ascii-digits": {"X-Auth-Token": "١٢٣"},
}


@pytest.mark.parametrize("headers", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_a_request_without_a_live_token_is_refused(
    untouched: Target, headers: Mapping[str, str]
) -> None:
    token = untouched.client.token
    sent = {name: value.replace("{token}", token) for name, value in headers.items()}
    for method, path in (
        ("GET", PATH),
        ("GET", f"{PATH}/{untouched.mine}"),
        ("DELETE", f"{PATH}/{untouched.mine}"),
    ):
        answer = await untouched.client.request(method, path, headers=sent)
        assert_refused(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    posted = await untouched.client.request("POST", PATH, body=body_of(), headers=sent)
    assert_refused(posted, 401)


@pytest.mark.parametrize(
    "organization",
    [
        pytest.param("", id="row33-no-organization"),
        pytest.param("999999999", id="row33-other-organization"),
        pytest.param("0{id}", id="row33-organization-with-zero"),
        pytest.param("{id}.0", id="row33-organization-as-fraction"),
        pytest.param("١", id="row33-organization-in-arabic-digits"),
    ],
)
async def test_a_token_opens_its_own_organization_only(
    untouched: Target, organization: str
) -> None:
    name = organization.replace("{id}", str(untouched.client.organization_id))
    answer = await untouched.client.request("GET", PATH, headers={"X-Organization-Id": name})
    assert_refused(answer, 403)


@pytest.mark.parametrize("end", ["row33-revoked", "row33-expired"])
async def test_a_token_that_has_ended_is_refused_at_once(target: Target, end: str) -> None:
    client = await target.service.organization("leaving")
    assert (await client.request("GET", PATH)).status == 200
    async with target.service.database.acquire() as connection:
        (token,) = await list_tokens(connection, client.organization_id)
        if end == "row33-revoked":
            await revoke_token(connection, token.id)
        else:
            await connection.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", token.id)

    async def refused() -> bool:
        return (await client.request("GET", PATH)).status == 401

    await until(refused, within_s=2, every_s=0.01)
    assert_refused(await client.request("GET", PATH), 401)


# -- addresses: rows 12, 24, 25, 31, 32, 35, 36 -------------------------------------------------

IDS: dict[str, str] = {
    "row24-arabic-digits": "{arabic}",
    "row24-full-width-digits": "%EF%BC%91",
    "row24-superscript": "%C2%B2",
    "row24-leading-zero": "0{id}",
    "row24-plus": "+{id}",
    "row24-encoded-plus": "%2B{id}",
    "row24-fraction": "{id}.0",
    "row24-exponent": "{id}e0",
    "row24-hexadecimal": "0x1",
    "row24-blank-before": "%20{id}",
    "row24-blank-after": "{id}%20",
    "row24-underscore": "1_0",
    "row24-two": "{id},{id}",
    "row24-text": "img.png",
    "row24-two-slashes-after": "{id}//",
    "row24-more-after": "{id}/relationships/task",
    "row25-2-to-the-63": str(2**63),
    "row25-2-to-the-64": str(2**64),
    "row25-id-plus-2-to-the-64": "{wrapped}",
    "row25-5000-digits": "1" * 5000,
    "row25-zero": "0",
    "row25-minus-one": "-1",
    "row25-negative": "-{id}",
    "row25-largest-id": str(2**63 - 1),
}


def path_of(pattern: str, attachment_id: str) -> str:
    """Fill an id into a pattern of a path."""
    arabic = attachment_id.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    return f"{PATH}/" + pattern.format(
        id=attachment_id, arabic=quote(arabic), wrapped=int(attachment_id) + 2**64
    )


@pytest.mark.parametrize("pattern", IDS.values(), ids=IDS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_id_that_is_none_is_not_found(
    untouched: Target, method: str, pattern: str
) -> None:
    body = body_of() if method == "PATCH" else None
    answer = await untouched.client.request(method, path_of(pattern, untouched.mine), body=body)
    assert_refused(answer, 404)


@pytest.mark.parametrize(
    ("resource_id", "status"),
    [
        pytest.param('"{other}"', 409, id="row12-body-names-another-id"),
        pytest.param("{id}", 409, id="row12-body-id-is-a-number"),
        pytest.param('"0{id}"', 409, id="row12-body-id-with-zero"),
        pytest.param("null", 409, id="row12-body-id-null"),
    ],
)
async def test_a_body_that_names_another_id_is_a_conflict(
    untouched: Target, resource_id: str, status: int
) -> None:
    literal = resource_id.format(id=untouched.mine, other=untouched.theirs)
    body = f'{{"data":{{"type":"attachments","id":{literal},"attributes":{{"name":"b"}}}}}}'
    answer = await untouched.client.request("PATCH", f"{PATH}/{untouched.mine}", body=body.encode())
    assert_refused(answer, status)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        pytest.param("GET", None, id="row31-show"),
        pytest.param("PATCH", body_of(name="b.png"), id="row32-patch"),
        pytest.param("PATCH", body_of(temp_url="https://elsewhere/"), id="row32-patch-temp-url"),
        pytest.param("PATCH", body_of(attachable_type=""), id="row32-patch-with-fault"),
        pytest.param("DELETE", None, id="row32-delete"),
    ],
)
async def test_another_organizations_attachment_answers_as_a_missing_one(
    untouched: Target, method: str, body: bytes | None
) -> None:
    theirs = await untouched.client.request(method, f"{PATH}/{untouched.theirs}", body=body)
    missing = await untouched.client.request(method, f"{PATH}/{2**62}", body=body)
    assert_refused(theirs, 404)
    assert (theirs.status, theirs.body) == (missing.status, missing.body)


async def test_row31_a_list_holds_the_callers_own_only(untouched: Target) -> None:
    for query in ("", "?filter[comment_id]=3", "?filter[comment_id][not_eq]=999"):
        answer = await untouched.client.request("GET", PATH + query)
        assert [resource["id"] for resource in answer.data] == [untouched.mine]


def encoded(**parameters: str) -> str:
    """Write a query of one parameter, name and value percent-encoded."""
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in parameters.items())


def cursor(text: str) -> str:
    """Make a cursor that the service would not."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


QUERIES: dict[str, str] = {
    "row35-or-1": "filter[task_id]=1%20OR%201=1",
    "row35-drop-table": "filter[task_id]=1;DROP%20TABLE%20attachments;--",
    "row35-quote": "filter[task_id]=1'",
    "row35-union": "filter[comment_id]=1)%20UNION%20SELECT%20*%20FROM%20tokens--",
    "row35-wildcard": "filter[comment_id]=%25",
    "row35-in-name": "filter[task_id'%20OR%201=1--]=1",
    "row35-in-operator": "filter[task_id][eq'%20OR%201=1--]=1",
    "row35-in-sort": "sort=id;DROP%20TABLE%20attachments",
    "row35-in-include": "include=task;DROP%20TABLE%20attachments",
    "row35-in-size": "page[size]=1;SELECT%201",
    "row35-in-cursor": f"page[after]={cursor('1 OR 1=1')}",
    "row36-unknown-sort": "sort=name",
    "row36-two-sorts": "sort=id,-id",
    "row36-plus-sort": "sort=%2Bid",
    "row36-empty-sort": "sort=",
    "row36-unknown-include": "include=owner",
    "row36-unknown-include-among-known": "include=task,owner",
    "row36-include-path": "include=task.deal",
    "row36-include-upper-case": "include=Task",
    "row36-unknown-filter": "filter[deal_id]=1",
    "row36-filter-of-column": "filter[organization_id]=1",
    "row36-filter-without-name": "filter=1",
    "row36-filter-empty-name": "filter[]=1",
    "row36-filter-three-levels": "filter[task_id][eq][eq]=1",
    "row36-filter-unclosed": "filter[task_id=1",
    "row36-filter-upper-case": "filter[Task_id]=1",
    "row36-unknown-operator": "filter[task_id][gt]=1",
    "row36-filter-value-text": "filter[task_id]=abc",
    "row36-filter-value-empty": "filter[task_id]=",
    "row36-filter-value-zero": "filter[task_id]=0",
    "row36-filter-value-negative": "filter[task_id]=-1",
    "row36-filter-value-2-to-the-63": f"filter[task_id]={2**63}",
    "row36-filter-value-leading-zero": "filter[task_id]=01",
    "row36-filter-value-arabic": f"filter[task_id]={quote('٣')}",
    "row36-filter-value-5000-digits": f"filter[task_id]={'1' * 5000}",
    "row36-filter-value-trailing-comma": "filter[task_id]=1,",
    "row36-filter-201-values": f"filter[task_id]={','.join(['1'] * 201)}",
    "row36-page-number-zero": "page[number]=0",
    "row36-page-number-negative": "page[number]=-1",
    "row36-page-number-text": "page[number]=two",
    "row36-page-number-fraction": "page[number]=1.5",
    "row36-page-number-empty": "page[number]=",
    "row36-page-number-arabic": f"page[number]={quote('٣')}",
    "row36-page-number-huge": f"page[number]={10**18}",
    "row36-page-number-5000-digits": f"page[number]={'1' * 5000}",
    "row36-page-number-twice-last-bad": "page[number]=1&page[number]=0",
    "row36-cursor-with-a-large-page": f"page[after]={cursor('1')}&page[size]=201",
    "row36-page-size-zero": "page[size]=0",
    "row36-page-size-negative": "page[size]=-30",
    "row36-page-size-text": "page[size]=all",
    "row36-page-size-empty": "page[size]=",
    "row36-unknown-page": "page[offset]=1",
    "row36-page-without-name": "page=2",
    "row36-page-unclosed": "page[size=2",
    "row36-cursor-garbage": "page[after]=garbage!",
    "row36-cursor-not-ours": f"page[after]={cursor('01')}",
    "row36-cursor-beyond": f"page[after]={cursor(str(2**63))}",
    "row36-cursor-non-ascii": f"page[before]={quote('é')}",
    "row36-both-cursors": f"page[after]={cursor('1')}&page[before]={cursor('2')}",
    "row36-cursor-and-number": f"page[after]={cursor('1')}&page[number]=2",
    "row36-unknown-parameter": "search=img",
    "row36-nul-in-name": "filter[%00]=1",
    "row36-lone-percent": "filter[%zz]=1",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_that_is_not_understood_is_refused(untouched: Target, query: str) -> None:
    assert_refused(await untouched.client.request("GET", f"{PATH}?{query}"), 400)


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        pytest.param(
            "filter[x]=1",
            "Unsupported Filter",
            "Filter 'x' is not supported on this endpoint",
            id="row36-filter",
        ),
        pytest.param(
            "sort=x",
            "Unsupported Sort",
            "Sort by 'x' is not supported on this endpoint",
            id="row36-sort",
        ),
        pytest.param(
            "include=x",
            "Unsupported Include",
            "Include 'x' is not supported on this endpoint",
            id="row36-include",
        ),
    ],
)
async def test_what_is_not_supported_is_named(
    untouched: Target, query: str, title: str, detail: str
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?{query}")
    assert answer.document == {"errors": [{"status": "400", "title": title, "detail": detail}]}


@pytest.mark.parametrize(
    "query", ["sort=id", "filter[task_id]=1", "page[size]=5", "page[number]=1", "include=owner"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_row36_what_only_a_list_knows_is_refused_elsewhere(
    untouched: Target, method: str, query: str
) -> None:
    path = PATH if method == "POST" else f"{PATH}/{untouched.mine}"
    body = None if method == "GET" else body_of()
    assert_refused(await untouched.client.request(method, f"{path}?{query}", body=body), 400)


@pytest.mark.parametrize(
    ("asked", "given"), [("200", 200), ("201", 200), (str(10**9), 200), (str(10**18), 200)]
)
async def test_row36_a_size_above_200_counts_as_200(
    untouched: Target, asked: str, given: int
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?page[size]={asked}")
    assert answer.status == 200
    assert answer.document["meta"]["page_size"] == given


async def test_row36_a_page_beyond_the_last_is_empty(untouched: Target) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?page[number]=501&page[size]=200")
    assert answer.status == 200
    assert answer.data == []
    assert answer.document["meta"]["total_count"] == 1


@pytest.mark.parametrize(
    "query",
    ["page[number]=502&page[size]=200", "page[number]=100002&page[size]=1", "page[number]=3335"],
)
async def test_row36_a_page_by_number_begins_after_100000_at_most(
    untouched: Target, query: str
) -> None:
    answer = await untouched.client.request("GET", f"{PATH}?{query}")
    assert answer.status == 400
    detail = answer.document["errors"][0]["detail"]
    assert "'page[number]'" in detail
    assert "'page[after]'" in detail


async def test_row35_unknown_names_of_a_fieldset_are_ignored(untouched: Target) -> None:
    query = encoded(**{"fields[attachments]": "name,x'; DROP TABLE attachments;--"})
    answer = await untouched.client.request("GET", f"{PATH}/{untouched.mine}?{query}")
    assert answer.data["attributes"] == {"name": "mine.png"}


# -- raw bytes: rows 17, 26, 34, 37 to 44 -------------------------------------------------------


async def exchange(
    target: Target, *pieces: bytes, within_s: float = 5, closes: bool = False
) -> Answer:
    """Send bytes as they are, read the answer, and check whether the connection ends, if it must.

    `{host}`, `{auth}` and `{id}` are filled in.
    """
    url = urlsplit(target.service.base_url)
    filled = {
        b"{host}": f"Host: {url.netloc}\r\n".encode(),
        b"{auth}": (
            f"Host: {url.netloc}\r\nX-Auth-Token: {target.client.token}\r\n"
            f"X-Organization-Id: {target.client.organization_id}\r\n"
        ).encode(),
        b"{id}": target.mine.encode(),
    }
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        async with asyncio.timeout(within_s):
            for piece in pieces:
                for name, value in filled.items():
                    piece = piece.replace(name, value)
                writer.write(piece)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").strip().split("\r\n")
            headers: CIMultiDict[str] = CIMultiDict(
                (name, value.strip()) for name, _, value in (line.partition(":") for line in lines)
            )
            body = await reader.readexactly(int(headers.get("Content-Length", "0")))
            if closes:
                assert await reader.read() == b""
    finally:
        writer.close()
    return Answer(
        status=int(status_line.split(" ")[1]),
        headers=headers,
        body=body,
        document=json.loads(body) if "json" in headers.get("Content-Type", "") else None,
    )


def post(*headers: bytes, body: bytes = b"") -> bytes:
    """Write a create request with headers of the test's own."""
    return b"".join(
        [
            b"POST /api/v2/attachments HTTP/1.1\r\n{auth}",
            b"Content-Type: application/vnd.api+json\r\n",
            *(header + b"\r\n" for header in headers),
            b"\r\n",
            body,
        ]
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param(b"/api/v2/attachments/%00", 404, id="row26-nul"),
        pytest.param(b"/api/v2/attachments/{id}%00", 404, id="row26-nul-after-id"),
        pytest.param(b"/api/v2/attachments/{id}%0d%0a", 404, id="row26-crlf"),
        pytest.param(b"/api/v2/attachments/{id}%0d%0aSet-Cookie:a", 404, id="row26-crlf-header"),
        pytest.param(b"/api/v2/attachments/%zz", 404, id="row26-bad-escape"),
        pytest.param(b"/api/v2/attachments/{id}%zz", 404, id="row26-bad-escape-after-id"),
        pytest.param(b"/api/v2/attachments/{id}%", 404, id="row26-lone-percent"),
        pytest.param(b"/api/v2/attachments/%ff", 404, id="row26-no-utf-8"),
        pytest.param(b"/api/v2/attachments/%ed%a0%80", 404, id="row26-surrogate"),
        pytest.param(b"/api/v2/attachments/..%2f..%2fmetrics", 404, id="row26-climbing"),
        pytest.param(b"/api/v2/attachments/%2e%2e", 404, id="row26-dots"),
        pytest.param(b"/api/v2%2fattachments", 404, id="row26-encoded-slash"),
        pytest.param(b"/api/v2//attachments", 404, id="row26-double-slash"),
        pytest.param(b"/attachments/files/%00?1", 404, id="row26-file-nul"),
        pytest.param(b"/attachments/files/..%2f..%2f?1&s=a", 404, id="row26-file-climbing"),
        pytest.param(b"/attachments/files/%zz?%zz&s=%ff&e=%C2%B2", 404, id="row26-file-signature"),
        pytest.param(b"/api/v2/attachments/\xff", 400, id="row26-raw-byte"),
        pytest.param(b"/", 404, id="row26-root"),
        pytest.param(b"//", 404, id="row26-two-slashes"),
        pytest.param(b"*", 400, id="row26-asterisk"),
        pytest.param(b"http://[/api/v2/attachments", 400, id="row26-no-address"),
        pytest.param(b"http://a:b@c:99999999/api/v2/attachments", 400, id="row26-no-port"),
    ],
)
async def test_a_path_that_is_none_of_ours_is_not_found(
    untouched: Target, path: bytes, status: int
) -> None:
    answer = await exchange(untouched, b"GET " + path + b" HTTP/1.1\r\n{auth}\r\n")
    assert_refused(answer, status)


TWO_TOKENS = b"X-Auth-Token: a\r\nX-Auth-Token: b\r\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"{host}Authorization: Bearer a\r\n" * 1, 401, id="row34-one-garbage"),
        pytest.param(
            b"{host}Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
            401,
            id="row34-header-twice",
        ),
        pytest.param(b"{host}" + TWO_TOKENS, 401, id="row34-two-tokens"),
        pytest.param(b"{auth}X-Auth-Token: b\r\n", 401, id="row34-a-token-and-a-good-one"),
        pytest.param(b"{host}X-Auth-Token: \xff\xfe\r\n", 401, id="row34-raw-bytes"),
        pytest.param(b"{auth}X-Organization-Id: 1\r\n", 403, id="row34-two-organizations"),
        pytest.param(b"{auth}Host: evil.example\r\n", 400, id="row34-two-hosts"),
    ],
)
async def test_credentials_that_can_be_read_two_ways_are_refused(
    untouched: Target, headers: bytes, status: int
) -> None:
    answer = await exchange(untouched, b"GET /api/v2/attachments HTTP/1.1\r\n" + headers + b"\r\n")
    # with two hosts it is aiohttp's parser that refuses, without a look at the rest
    assert_refused(answer, status)


@pytest.mark.parametrize(
    "host",
    [b"\xff\xfe", b"a b", b"a/b", b"a\tb", b"<script>", b"user@host", b"host:port", b"", b"[::1"],
)
async def test_row17_a_host_that_is_none_gets_into_no_link(untouched: Target, host: bytes) -> None:
    auth = (
        f"X-Auth-Token: {untouched.client.token}\r\n"
        f"X-Organization-Id: {untouched.client.organization_id}\r\n"
    ).encode()
    for request in (
        b"GET /api/v2/attachments HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (host, auth),
        b"POST /api/v2/attachments HTTP/1.1\r\nHost: %s\r\n%sContent-Type: "
        b"application/vnd.api+json\r\nContent-Length: %d\r\n\r\n%s"
        % (host, auth, len(body_of()), body_of()),
    ):
        assert_refused(await exchange(untouched, request), 400)


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(64 * 1024 + 1, id="row37-one-byte-over"),
        pytest.param(10 * 1024**3, id="row37-10-gb"),
        pytest.param(2**63, id="row37-2-to-the-63"),
    ],
)
async def test_a_body_over_the_limit_is_refused_before_it_is_read(
    untouched: Target, length: int
) -> None:
    # not a byte of the body is sent, and the answer comes all the same
    answer = await exchange(untouched, post(b"Content-Length: %d" % length), closes=True)
    assert_refused(answer, 413)


async def test_row37_a_bulk_body_over_its_limit_is_refused(untouched: Target) -> None:
    request = post(b"Content-Length: %d" % (1024 * 1024 + 1)).replace(
        b"vnd.api+json", b"vnd.api+json; ext=bulk"
    )
    assert_refused(await exchange(untouched, request, closes=True), 413)


def chunked(body: bytes, size: int = 8192) -> bytes:
    """Write a body in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_row38_a_chunked_body_over_the_limit_is_refused(untouched: Target) -> None:
    request = post(b"Transfer-Encoding: chunked", body=chunked(body_of(x="a" * 70_000)))
    assert_refused(await exchange(untouched, request), 413)


async def test_row38_a_chunked_body_without_end_is_refused(untouched: Target) -> None:
    head = post(b"Transfer-Encoding: chunked")
    pieces = [b"2000\r\n" + b" " * 0x2000 + b"\r\n"] * 12
    assert_refused(await exchange(untouched, head, *pieces, closes=True), 413)


def compressed(encoding: bytes, body: bytes, *headers: bytes) -> bytes:
    """Write a create request with a body that is already compressed."""
    return post(
        b"Content-Encoding: " + encoding, b"Content-Length: %d" % len(body), *headers, body=body
    )


BOMB = b'{"a":"' + b" " * 40_000_000 + b'"}'


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        pytest.param(b"gzip", gzip.compress, id="row39-gzip"),
        pytest.param(b"deflate", zlib.compress, id="row39-deflate"),
    ],
)
async def test_a_bomb_is_refused(
    untouched: Target, encoding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    bomb = compress(BOMB)
    assert len(bomb) < 64 * 1024
    assert_refused(await exchange(untouched, compressed(encoding, bomb)), 413)


GOOD_GZIP = gzip.compress(body_of())
DAMAGED = GOOD_GZIP[:20] + bytes([GOOD_GZIP[20] ^ 0xFF]) + GOOD_GZIP[21:]


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param(b"gzip", b"this is no gzip", 400, id="row40-no-gzip"),
        pytest.param(b"gzip", body_of(), 400, id="row40-not-compressed"),
        pytest.param(b"gzip", DAMAGED, 400, id="row40-damaged"),
        pytest.param(b"gzip", GOOD_GZIP[:-8] + b"\0" * 8, 400, id="row40-bad-checksum"),
        pytest.param(b"gzip", GOOD_GZIP[:30], 400, id="row40-cut-short"),
        pytest.param(b"gzip", GOOD_GZIP[:-8], 400, id="row40-no-checksum"),
        pytest.param(b"gzip", GOOD_GZIP + b"more", 400, id="row40-more-after"),
        pytest.param(b"gzip", b"\x1f\x8b", 400, id="row40-two-bytes"),
        pytest.param(b"deflate", b"\x78\x9cgarbage", 400, id="row40-deflate-garbage"),
        pytest.param(b"deflate", zlib.compress(body_of())[:-10], 400, id="row40-deflate-cut-short"),
        pytest.param(b"deflate", zlib.compress(body_of())[:-4] + b"abcd", 400, id="row40-adler"),
        pytest.param(b"gzip, gzip", gzip.compress(GOOD_GZIP), 415, id="row40-gzip-twice"),
        pytest.param(b"br", b"garbage", 415, id="row40-brotli"),
        pytest.param(b"zstd", b"garbage", 415, id="row40-zstd"),
        pytest.param(b"klingon", GOOD_GZIP, 415, id="row40-unknown-encoding"),
    ],
)
async def test_a_body_that_is_not_what_its_encoding_says_is_refused(
    untouched: Target, encoding: bytes, body: bytes, status: int
) -> None:
    assert_refused(await exchange(untouched, compressed(encoding, body)), status)


BODY = body_of()
LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"

FRAMES: dict[str, bytes] = {
    "row41-length-and-chunked": post(LENGTH, CHUNKED, body=chunked(BODY)),
    "row41-chunked-and-length": post(CHUNKED, LENGTH, body=chunked(BODY)),
    "row41-two-lengths": post(LENGTH, b"Content-Length: 5", body=BODY),
    "row41-same-length-twice": post(LENGTH, LENGTH, body=BODY),
    "row41-length-list": post(LENGTH + b", %d" % len(BODY), body=BODY),
    "row41-negative-length": post(b"Content-Length: -5", body=BODY),
    "row41-plus-length": post(b"Content-Length: +%d" % len(BODY), body=BODY),
    "row41-hexadecimal-length": post(b"Content-Length: 0x10", body=BODY),
    "row41-empty-length": post(b"Content-Length:", body=BODY),
    "row41-text-length": post(b"Content-Length: all", body=BODY),
    "row41-huge-length": post(b"Content-Length: " + b"9" * 100, body=BODY),
    "row41-unknown-transfer-encoding": post(b"Transfer-Encoding: xchunked", body=chunked(BODY)),
    "row41-chunked-not-last": post(b"Transfer-Encoding: chunked, gzip", body=chunked(BODY)),
    "row41-chunked-twice": post(CHUNKED, CHUNKED, body=chunked(BODY)),
    "row41-bad-chunk-size": post(CHUNKED, body=b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-negative-chunk-size": post(CHUNKED, body=b"-5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-chunk-longer-than-said": post(CHUNKED, body=b"2\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "row41-blank-before-colon": post(b"Content-Length : %d" % len(BODY), body=BODY),
    "row41-folded-header": post(b"X-A: b\r\n c", LENGTH, body=BODY),
    "row41-header-without-colon": post(b"nonsense", LENGTH, body=BODY),
    "row41-nul-in-header": post(b"X-A: a\0b", LENGTH, body=BODY),
    "row41-bare-cr-in-header": post(b"X-A: a\rb: c", LENGTH, body=BODY),
    "row41-no-host": b"GET /api/v2/attachments HTTP/1.1\r\n\r\n",
    "row41-http-3": b"GET /api/v2/attachments HTTP/3.0\r\n{auth}\r\n",
    "row41-unknown-method": b"FETCH /api/v2/attachments HTTP/1.1\r\n{auth}\r\n",
    "row41-tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "row41-noise": bytes(range(255, 0, -1)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", FRAMES.values(), ids=FRAMES)
async def test_a_request_that_can_be_cut_two_ways_is_refused_and_the_connection_ends(
    untouched: Target, request_bytes: bytes
) -> None:
    assert_refused(await exchange(untouched, request_bytes, closes=True), 400)


async def test_row41_what_follows_a_refused_frame_is_never_taken_for_a_request(
    untouched: Target,
) -> None:
    smuggled = b"DELETE /api/v2/attachments/{id} HTTP/1.1\r\n{auth}\r\n"
    request = post(LENGTH, CHUNKED, body=b"0\r\n\r\n") + smuggled
    assert_refused(await exchange(untouched, request, closes=True), 400)


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        pytest.param(
            b"GET /api/v2/attachments?sort=" + b"a" * 20_480 + b" HTTP/1.1\r\n{auth}\r\n",
            (400, 414),
            id="row42-20-kb-url",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}X-A: " + b"a" * 20_480 + b"\r\n\r\n",
            (400, 431),
            id="row42-20-kb-header",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}" + b"a" * 20_480 + b": a\r\n\r\n",
            (400, 431),
            id="row42-20-kb-header-name",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}"
            + b"".join(b"X-%d: a\r\n" % number for number in range(200))
            + b"\r\n",
            (200, 400, 431),
            id="row42-200-headers",
        ),
        pytest.param(
            b"GET /api/v2/attachments HTTP/1.1\r\n{auth}"
            + b"".join(b"X-%d: a\r\n" % number for number in range(20_000))
            + b"\r\n",
            (400, 431),
            id="row42-20000-headers",
        ),
    ],
)
async def test_too_much_of_a_head_is_refused(
    untouched: Target, request_bytes: bytes, statuses: tuple[int, ...]
) -> None:
    answer = await exchange(untouched, request_bytes)
    assert answer.status in statuses
    if answer.status != 200:
        assert_refused(answer, answer.status)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(post(b"Content-Length: 100"), id="row43-no-byte"),
        pytest.param(post(b"Content-Length: 100", body=b'{"data":'), id="row43-half"),
        pytest.param(post(CHUNKED, body=b'8\r\n{"data":\r\n'), id="row43-chunked"),
        pytest.param(post(CHUNKED, body=b"ff"), id="row43-in-a-chunk-size"),
    ],
)
async def test_a_stalled_body_is_given_up(
    untouched: Target, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
) -> None:
    assert bodies.READ_TIMEOUT_S <= 10
    monkeypatch.setattr(bodies, "READ_TIMEOUT_S", 0.2)
    assert_refused(await exchange(untouched, request_bytes, closes=True), 408)


async def test_row43_a_body_that_drips_is_given_up(
    untouched: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_TIMEOUT_S", 0.2)
    url = urlsplit(untouched.service.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = post(b"Content-Length: 100").replace(
        b"{auth}",
        f"Host: {url.netloc}\r\nX-Auth-Token: {untouched.client.token}\r\n"
        f"X-Organization-Id: {untouched.client.organization_id}\r\n".encode(),
    )
    writer.write(head)

    async def drip() -> None:
        for _ in range(90):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(3):
            assert b" 408 " in await reader.readline()
    finally:
        dripping.cancel()
        writer.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("PUT", PATH, {"GET", "HEAD", "POST"}, id="row44-put-list"),
        pytest.param("DELETE", PATH, {"GET", "HEAD", "POST"}, id="row44-delete-list"),
        pytest.param("PATCH", PATH, {"GET", "HEAD", "POST"}, id="row44-patch-list"),
        pytest.param("OPTIONS", PATH, {"GET", "HEAD", "POST"}, id="row44-options-list"),
        pytest.param(
            "POST", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-post-one"
        ),
        pytest.param(
            "PUT", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-put-one"
        ),
        pytest.param("GET", "/events/s3", {"POST"}, id="row44-get-events"),
        pytest.param("GET", "/events/s3/token", {"POST"}, id="row44-get-events-token"),
        pytest.param("POST", "/attachments/files/a", {"GET", "HEAD"}, id="row44-post-file"),
        pytest.param("TRACE", PATH, {"GET", "HEAD", "POST"}, id="row44-trace-list"),
        pytest.param(
            "TRACE", f"{PATH}/{{id}}", {"GET", "HEAD", "PATCH", "DELETE"}, id="row44-trace-one"
        ),
        pytest.param("PROPFIND", PATH, {"GET", "HEAD", "POST"}, id="row44-propfind"),
    ],
)
async def test_a_wrong_method_is_refused(
    untouched: Target, method: str, path: str, allowed: set[str]
) -> None:
    answer = await exchange(
        untouched, f"{method} {path} HTTP/1.1\r\n".encode() + b"{auth}X-Secret: 1\r\n\r\n"
    )
    assert_refused(answer, 405)
    assert set(answer.headers["Allow"].split(",")) == allowed
    assert b"X-Secret" not in answer.body


async def test_row44_connect_is_refused(untouched: Target) -> None:
    answer = await exchange(untouched, b"CONNECT internal:443 HTTP/1.1\r\n{auth}\r\n")
    assert answer.status in (400, 404, 405)
    assert_refused(answer, answer.status)


async def test_an_unknown_expectation_is_refused(untouched: Target) -> None:
    request = post(LENGTH, b"Expect: <script>", body=BODY)
    assert_refused(await exchange(untouched, request), 417)


async def test_what_cannot_be_parsed_is_not_logged(
    untouched: Target, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = b"sesame-of-the-test"
    await exchange(untouched, post(b"X-Auth-Token : " + secret, LENGTH, body=BODY), closes=True)
    assert secret.decode() not in caplog.text
    assert secret.decode() not in "".join(capsys.readouterr())


async def test_row45_a_burst_over_the_quota_is_told_to_wait(start_service: StartService) -> None:
    service = await start_service(rate_limit="5")
    other = await service.organization()
    answers = await asyncio.gather(*(service.client.request("GET", PATH) for _ in range(12)))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(answers) - len(refused) in (5, 6)  # a sixth is earned while the first are answered
    for answer in refused:
        assert_refused(answer, 429)
        assert int(answer.headers["Retry-After"]) >= 1
    # no other organization pays for it
    assert (await other.request("GET", PATH)).status == 200

    async def admitted() -> bool:
        return (await service.client.request("GET", PATH)).status == 200

    await until(admitted, within_s=2)


# -- odd, but fine: rows 18, 19, 22, 28, 30, 35 --------------------------------------------------

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
    """Cut the file name out of a file's address."""
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


# -- anything at all: never a 5xx ---------------------------------------------------------------

anything = hypothesis_settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXT = st.text(st.characters(codec=None), max_size=40)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    TEXT,
    st.integers(min_value=-(2**70), max_value=2**70),
    st.sampled_from(["", "comment", "inline", "image/png", "\0", "\ud800", "https://a/b", 2**63]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
NAMED = st.sampled_from(
    [
        "name",
        "attachable_type",
        "attachable_id",
        "content_type",
        "size",
        "attachment_type",
        "message_id",
        "external_id",
        "temp_url",
        "url",
        "resized",
    ]
)
ATTRIBUTES = st.dictionaries(NAMED | TEXT, VALUES, max_size=6)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {"data": st.fixed_dictionaries({"type": st.just("attachments"), "attributes": ATTRIBUTES})}
    ),
    st.fixed_dictionaries({"data": st.dictionaries(TEXT, VALUES, max_size=4)}),
    st.fixed_dictionaries({"data": VALUES}),
    VALUES,
)


def assert_answered(answer: Answer) -> None:
    """Check that an answer is a success or a refusal, and a JSON:API document if it has a body."""
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert_refused(answer, answer.status)


@anything
@given(sent=DOCUMENTS, method=st.sampled_from(["POST", "PATCH"]), bulk=st.booleans())
async def test_no_document_is_a_fault_of_the_service(
    target: Target, sent: Any, method: str, bulk: bool
) -> None:
    headers = {"Content-Type": BULK if bulk else MEDIA_TYPE}
    path = PATH if method == "POST" else f"{PATH}/{target.mine}"
    body = json.dumps(sent).encode()
    assert_answered(await target.client.request(method, path, body=body, headers=headers))


@anything
@given(attributes=ATTRIBUTES)
async def test_no_attribute_is_a_fault_of_the_service(
    target: Target, attributes: dict[str, Any]
) -> None:
    attributes = {"name": "a.png", **attributes}
    sent = json.dumps({"data": {"type": "attachments", "attributes": attributes}}).encode()
    assert_answered(await target.client.request("POST", PATH, body=sent))


@anything
@given(noise=st.binary(max_size=200), cut=st.integers(0, 200))
async def test_no_bytes_are_a_fault_of_the_service(target: Target, noise: bytes, cut: int) -> None:
    body = body_of()[:cut] + noise
    assert_answered(await target.client.request("POST", PATH, body=body))


PARAMETERS = st.sampled_from(
    [
        "filter[task_id]",
        "filter[comment_id][not_eq]",
        "filter[task_id][]",
        "filter[x]",
        "sort",
        "include",
        "fields[attachments]",
        "fields[x]",
        "page[number]",
        "page[size]",
        "page[after]",
        "page[before]",
        "page[]",
        "page[",
        "filter[",
        "fields[",
    ]
)
ESCAPED = st.binary(max_size=12).map(lambda raw: quote(raw, safe=""))
RAW = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=12
)
PIECES = st.sampled_from(["1", "0", "-1", "id", "-id", "task", "MQ", "%00", "%zz", "%ed%a0%80"])


@anything
@given(
    query=st.lists(
        st.tuples(PARAMETERS | ESCAPED | RAW, PIECES | ESCAPED | RAW), min_size=1, max_size=4
    ),
    one=st.booleans(),
)
async def test_no_query_is_a_fault_of_the_service(
    untouched: Target, query: list[tuple[str, str]], one: bool
) -> None:
    text = "&".join(f"{name}={value}" for name, value in query).encode()
    path = f"{PATH}/{untouched.mine}" if one else PATH
    answer = await exchange(
        untouched, b"GET " + path.encode() + b"?" + text + b" HTTP/1.1\r\n{auth}\r\n"
    )
    assert_answered(answer)


@anything
@given(
    start=st.sampled_from(["/", PATH, f"{PATH}/", "/attachments/files/", "/events/s3/", "//", ""]),
    rest=ESCAPED | RAW,
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"]),
)
async def test_no_path_is_a_fault_of_the_service(
    untouched: Target, start: str, rest: str, method: str
) -> None:
    target_bytes = (start + rest).encode() or b"/"
    answer = await exchange(
        untouched, method.encode() + b" " + target_bytes + b" HTTP/1.1\r\n{auth}\r\n"
    )
    assert_answered(answer)


@anything
@given(
    name=st.sampled_from(
        [
            "Accept",
            "Content-Type",
            "Content-Encoding",
            "Authorization",
            "X-Auth-Token",
            "X-Organization-Id",
            "Host",
            "Expect",
            "Connection",
            "Upgrade",
            "Transfer-Encoding",
            "Cookie",
            "Range",
            "If-None-Match",
            "X-Forwarded-For",
            "Idempotency-Key",
        ]
    ),
    value=st.one_of(
        st.binary(max_size=30).filter(lambda raw: not set(raw) & set(b"\r\n")),
        st.sampled_from([b"chunked", b"websocket", b"upgrade", b"gzip", b"100-continue", b"close"]),
    ),
)
async def test_no_header_is_a_fault_of_the_service(
    untouched: Target, name: str, value: bytes
) -> None:
    body = b"{}"
    request = (
        b"POST /api/v2/attachments HTTP/1.1\r\n{auth}"
        + (b"" if name == "Content-Type" else b"Content-Type: application/vnd.api+json\r\n")
        + b"Content-Length: %d\r\n" % len(body)
        + name.encode()
        + b": "
        + value
        + b"\r\n\r\n"
        + body
    )
    answer = await exchange(untouched, request)
    if answer.status == 100:
        return
    assert_answered(answer)
