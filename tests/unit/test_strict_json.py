"""The API parses JSON strictly, with limits for its depth and its number of values."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bodies import MAX_MARKS, SHORT_BYTES, parse_json
from api.problems import Problem
from tests.support.bodies import status_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(value=VALUES, spaced=st.booleans(), escaped=st.booleans())
def test_json_is_read_as_it_was_written(value: Any, spaced: bool, escaped: bool) -> None:
    text = json.dumps(value, indent=1 if spaced else None, ensure_ascii=escaped)
    try:
        body = text.encode()
    except UnicodeEncodeError:  # UTF-8 has no lone surrogates; JSON can escape them
        body = json.dumps(value).encode()
    assert parse_json(body) == value


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from('[]{}":,\\u0019dEe.-+tfn NI'), max_size=60).map(str.encode)
)
def test_no_bytes_make_reading_json_fail_otherwise(body: bytes) -> None:
    try:
        parse_json(body)
    except Problem as problem:
        status = problem.status
    else:
        return
    assert status == 400


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.text(st.sampled_from('[]{}":,\\u0061a1-+.eE \n'), max_size=40))
def test_a_body_that_orjson_reads_too_is_read_as_the_strict_decoder_reads_it(text: str) -> None:
    body = text.encode()
    # The spaces make the body long. A long body is read by the strict decoder alone.
    padded = body + b" " * SHORT_BYTES
    assert read(body) == read(padded)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":1}',
        '[{"a":":","a":1}]',
        '{"a":{"b":1,"b":2}}',
        "1" * 41,
        "1e400",
        "[1," + "2" * 41 + "]",
    ],
)
def test_a_body_that_orjson_alone_would_accept_is_refused(text: str) -> None:
    with pytest.raises(Problem) as problem:
        parse_json(text.encode())
    assert status_of(problem) == 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1" * 40, int("1" * 40)),
        ('"\\ud800"', "\ud800"),
        ("-0", 0),
        ('{"a":"b:c","d":":"}', {"a": "b:c", "d": ":"}),
        ('{"\\u003a":[1.5,{"":null}]}', {":": [1.5, {"": None}]}),
    ],
)
def test_a_body_that_orjson_alone_would_not_read_is_read(text: str, value: Any) -> None:
    read_value = parse_json(text.encode())
    assert (read_value, type(read_value)) == (value, type(value))


def read(body: bytes) -> tuple[str, Any]:
    """Parse a body. Return `read` and the value as text, or `refused` and the errors."""
    try:
        return "read", repr(parse_json(body))
    except Problem as problem:
        return "refused", problem.errors


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_nesting_is_read_up_to_64_levels(depth: int) -> None:
    parse_json(b"[" * depth + b"]" * depth)
    parse_json(b'{"a":' * depth + b"1" + b"}" * depth)


def test_brackets_in_strings_are_no_depth() -> None:
    text = "[" * 500 + '\\"' + "{" * 500
    assert parse_json(json.dumps({"a": text, "b": [text]}).encode()) == {"a": text, "b": [text]}
    wide: list[Any] = [[]] * 500
    assert parse_json(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"]",
        b"nul",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"'a'",
        b"[1,]",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\x00"',
        b'"\n"',
        b'"\\x41"',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"[1e999]",
        b"1" * 41,
        b"-" + b"1" * 41,
        b"1" * 5000,
        b"1" * 5000 + b".0",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"b":{"a":1,"a":2}}]',
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'["\\"",' + b"[" * 100,
    ],
)
def test_a_body_of_invalid_json_is_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parse_json(body)
    assert status_of(problem) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 20_000 + b"[]]",
        b"[" + b"1," * 40_000 + b"1]",
        b"[" * 1_000_000,
        b"[" + b'"",' * 300_000 + b'""]',
        b'[{"' + b'\\"' * 1000 + b'":1},' + b"0," * 40_000 + b"0]",
    ],
)
def test_more_marks_than_a_bulk_request_needs_are_400(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        parse_json(body)
    assert status_of(problem) == 400
    assert str(MAX_MARKS) in problem.value.errors[0]["detail"]


@pytest.mark.parametrize(
    "text", ["," * 100_000, '\\"[' * 60_000, "\\\\" * 60_000, "[{" * 60_000, "é\n" * 60_000]
)
def test_brackets_in_strings_are_no_structure(text: str) -> None:
    value = {"a": [text, {"b": text}]}
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_a_resource_as_it_is_shown_may_be_sent_a_hundred_times() -> None:
    shown = {
        "id": "1",
        "type": "attachments",
        "meta": {str(n): n for n in range(10)},
        "attributes": {str(n): {"policy": [n]} for n in range(20)},
        "relationships": {str(n): {"data": {"type": "a", "id": "1"}} for n in range(13)},
    }
    assert parse_json(json.dumps({"data": [shown] * 100}).encode()) == {"data": [shown] * 100}
