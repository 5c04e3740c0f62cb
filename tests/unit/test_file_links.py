"""Query strings of file addresses, also in the forms to which HTTP libraries change them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.file_links import FileQuery, read_query

stable = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def query(*stamps: str, ends: str = "", signature: str = "", token: str = "") -> FileQuery:
    """Make the expected result of the parser, with these parameters."""
    return FileQuery(stamps=stamps, ends=ends, signature=signature, token=token)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("", query()),
        ("1776398568&s=a_-Z", query("1776398568", signature="a_-Z")),
        ("1776398568&e=99&s=a", query("1776398568", ends="99", signature="a")),
        ("1776398568=&s=a", query("1776398568", signature="a")),
        ("s=a&1776398568", query("1776398568", signature="a")),
        ("s=a&e=99&1776398568=", query("1776398568", ends="99", signature="a")),
        ("1&2&3&4&5&s=a", query("1", "2", "3", "4", signature="a")),
        ("1&1=&s=a", query("1", signature="a")),
        ("1&s=a&s=b", query("1", signature="b")),
        ("1=2&s=a", query(signature="a")),
        ("x&_=1&1&s=a&utm=%26s%3Db", query("1", signature="a")),
        ("1&e=09&s=a", query(ends="09", signature="a")),
        ("1&e=x&token=t", query(ends="x", token="t")),
        ("token=a&token=b", query(token="b")),
        ("%D9%A3&s=a", query(signature="a")),
        ("12345678901234567890&s=a", query(signature="a")),
    ],
)
def test_a_query_is_read(raw: str, found: FileQuery) -> None:
    assert read_query(raw) == found


@stable
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")))
def test_any_query_is_read(raw: str) -> None:
    found = read_query(raw)
    assert all(stamp.isascii() and stamp.isdigit() for stamp in found.stamps)
    assert not found.stamps or found.ends == "" or int(found.ends) > 0
