"""Requests with any body, query, path or header: no answer is a 5xx."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.data.bad_bodies import body_of
from tests.support.bad_requests import BULK, PATH, Target, assert_refused, exchange
from tests.support.service import MEDIA_TYPE, Answer

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
    """Assert that the answer is no 5xx, and that an error answer is a document of the contract."""
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
