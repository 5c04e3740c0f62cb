"""Types of text files: charsets, JSON, tables, and formats that begin with a known text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.writing import HEAD, WORDS, long_json, svg
from tests.support.identifying import measure


@given(words=st.text(alphabet="aä€😀\n", min_size=1), cut=st.integers(0, 3))
@example(words="😀", cut=3)
def test_a_character_cut_at_the_end_of_the_read_bytes_changes_nothing(words: str, cut: int) -> None:
    content = (WORDS * 40) + words.encode() * 9000
    assert measure(content, 5000 + cut)[0] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("words", "codec"),
    [
        ("Schöne Grüße", "iso-8859-1"),
        ("Zażółć gęślą jaźń", "iso-8859-2"),
        ("Привет", "cp1251"),
        ("Привет", "koi8-r"),
        ("Καλημέρα", "iso-8859-7"),
        ("日本語", "euc-jp"),
        ("안녕", "euc-kr"),
        ("中文", "gb18030"),
        ("“smart”", "cp1252"),
        ("日本語", "shift-jis"),
    ],
)
def test_no_charset_is_named_that_may_be_another(words: str, codec: str) -> None:
    assert measure((words + "\n").encode(codec) * 30)[0] == "text/plain"
    assert measure((words + ",a,b\n").encode(codec) * 30)[0] == "text/csv"


@pytest.mark.parametrize("name", ["utf-8", "utf-16", "utf-32"])
def test_a_charset_is_named_that_is_certain(name: str) -> None:
    assert measure("Привет, 日本語\n".encode(name) * 30)[0] == f"text/plain; charset={name}"


@pytest.mark.slow
@settings(deadline=None)
@given(head_bytes=st.integers(200, HEAD))
def test_json_is_json_wherever_it_is_cut(head_bytes: int) -> None:
    assert measure(long_json(), head_bytes)[0] == "application/json"


@pytest.mark.parametrize("far", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize(
    "content",
    [
        b"{words} in braces, and more of them\n",
        b"[1] A foot note\n[2] Another\n",
        b'{"a": 1, "b" 2}\n',
        b'{"a": [1, 2}, "b": 3}\n',
        b"[1, 2,, 3]\n",
        b"{'a': 1}\n",
        b'["a\nb"]\n',
        b"[section]\nkey = value\nother = value\n",
        b"[" + b" " * 9000 + b"!\n",
        b"[" * 5000,
    ],
)
def test_a_text_that_only_begins_like_json_is_text(content: bytes, far: bool) -> None:
    content = content + WORDS * 2000 if far else content
    assert measure(content)[0] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"a;\nb;\nc;\nd;\n", "text/plain"),
        (b"\tif a:\n\tb = c\n\td = e\n\tf = g\n", "text/plain"),
        (b"a,b\n1,2\n", "text/plain"),
        (b"a,b,c\n1,2\n3,4,5\n6,7,8\n", "text/plain"),
        (b"Dear all,\nthank you, and so on\nbye\n", "text/plain"),
        (b"a, b, c\n1, 2, 3\n4, 5, 6\n", "text/csv"),
        (b'a,"b\nb"\n1,2\n3,4\n', "text/csv"),
        ((b"x" * 4000 + b",b,c\n") * 40, "text/csv"),
        (b'a,b\n1,"2' + b"x" * 2 * HEAD, "text/plain"),
    ],
)
def test_a_table_has_rows_of_the_same_number_of_fields(content: bytes, content_type: str) -> None:
    assert measure(content)[0] == content_type + "; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(b"See %PDF-1.7, as in 1 0 obj.\n", "text/plain; charset=utf-8", id="of-pdf"),
        pytest.param(WORDS * 9 + b"%PDF-1.4 is old.\n", "text/plain; charset=utf-8", id="on-pdf"),
        pytest.param(b"CAF\xc9", "text/plain", id="letter-like-a-cut-one"),
        pytest.param(b"<words> <svg> and more words", "text/plain; charset=utf-8", id="of-svg"),
        pytest.param(WORDS + b"\n<html>\n" + WORDS, "text/plain; charset=utf-8", id="of-html"),
        pytest.param(b"import java.util.*;\n" + WORDS, "text/plain; charset=utf-8", id="of-java"),
        pytest.param(b"#!/usr/bin/python3\nimport os\n", "text/x-script.python", id="python"),
        pytest.param(b"<a:list>\n <b/>\n</a:list>\n", "text/xml", id="xml-to-its-end"),
        pytest.param(b"<list>\n <b/>\n and words", "text/plain; charset=utf-8", id="no-xml"),
        pytest.param(b"<center>words</center", "text/plain; charset=utf-8", id="tag"),
        pytest.param(b"PK\3\4 is a ZIP\n", "application/zip", id="cut-zip"),
        pytest.param(b"<!DOCTYPE note SYSTEM 'a.dtd'>\n<note/>", "text/xml", id="doctype"),
        pytest.param(
            svg("<?xml version='1.0'?>" + "<!---->" * 9000), "image/svg+xml", id="comments"
        ),
        pytest.param(b"<?xml version='1.0'?><!--" + b" " * HEAD, "text/xml", id="open-comment"),
        pytest.param(b"words\n" * 5000 + bytes(9), "application/octet-stream", id="zeros-late"),
        pytest.param(b"words\n" * 5000 + b"\xff\1\2", "application/octet-stream", id="bytes-late"),
    ],
)
def test_the_type_of_a_text_comes_from_its_beginning(content: bytes, content_type: str) -> None:
    assert measure(content)[0] == content_type
