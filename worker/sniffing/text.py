"""Identify a text: markup, JSON, a table or plain text, and its charset if that is certain.

libmagic recognizes texts, but often returns the wrong type. For example, it returns a table if each
line of a poem contains a comma, HTML if a note contains a tag, and Java if a note contains a
keyword of Java. libmagic recognizes fewer types if the text has a byte order mark, is in UTF-16, or
is longer than the part that libmagic gets. So this module checks the first bytes again. The rest of
the text may be anything, so no safety rule may depend on the result.
"""

import codecs
import csv
import io
import re
from typing import Final

import orjson

from worker.sniffing.libmagic import text_encoding

_LANGUAGES: Final = frozenset(
    f"text/x-{language}"
    for language in (
        "algol68",
        "asm",
        "bcpl",
        "c",
        "c++",
        "clojure",
        "forth",
        "fortran",
        "java",
        "lisp",
        "lua",
        "m4",
        "makefile",
        "objective-c",
        "pascal",
        "perl",
        "ruby",
        "script.python",
        "tcl",
    )
)
"""Types that libmagic returns for a text with certain words. They are accepted only if the text
begins with `#!`."""

TEXTS: Final = _LANGUAGES | frozenset(
    {"text/plain", "text/csv", "text/html", "text/xml", "application/json", "image/svg+xml"}
)
"""The types from libmagic that `identify_text` checks again."""

_MARKUP: Final = frozenset({"text/html", "text/xml", "image/svg+xml"})

_MARKS: Final = {
    codecs.BOM_UTF8: ("utf-8", "utf-8-sig"),
    codecs.BOM_UTF32_LE: ("utf-32", "utf-32"),
    codecs.BOM_UTF32_BE: ("utf-32", "utf-32"),
    codecs.BOM_UTF16_LE: ("utf-16", "utf-16"),
    codecs.BOM_UTF16_BE: ("utf-16", "utf-16"),
}
"""The charset and Python's codec for each byte order mark. UTF-32 comes first, because its mark
begins with the mark of UTF-16."""

_NO_SPACE: Final = re.compile(r"[^\s\ufeff]")
_PARSED: Final = 16 * 1024
"""Maximum number of characters of a text that are parsed."""


def identify_text(name: str, head: bytes, *, whole: bool) -> str:
    """Return the type of a text that libmagic calls `name`, with its charset if that is certain.

    `head` is its first 64 KiB or less. `whole` means that this is the complete text. Never raises
    for any bytes.
    """
    charset, text = _decoded(head, whole=whole)
    start = text[_next(text, 0) :]
    if start.startswith("<"):
        found = _markup(start)
        if found is not None or name in _MARKUP:
            return found or name
    if start.startswith("#!") and name in _LANGUAGES:
        return name
    if charset == "utf-8" and start[:1] in ("{", "[") and _is_json(text, whole=whole):
        return "application/json"
    if "\0" in text or (charset is None and text_encoding(head) == "binary"):
        # libmagic saw only the first of these bytes, which look like text
        return "application/octet-stream"
    kind = _table(text[:_PARSED], whole=whole and len(text) <= _PARSED) or "text/plain"
    return f"{kind}; charset={charset}" if charset else kind


def _decoded(head: bytes, *, whole: bool) -> tuple[str | None, str]:
    """Return the charset, or None if it is uncertain, and the decoded text.

    If the charset is uncertain, the text is decoded as Latin-1. ASCII counts as UTF-8, because
    later bytes may not be ASCII. A character that is cut at the end is ignored. One-byte charsets
    cannot be distinguished from each other, or from the older charsets of China, Japan and Korea:
    libmagic's `iso-8859-1` only means that there is no byte from 80 to 9F.
    """
    for mark, (charset, codec) in _MARKS.items():
        if head.startswith(mark):
            return charset, codecs.getincrementaldecoder(codec)("replace").decode(head)
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(head, whole)
    except UnicodeDecodeError:
        return None, head.decode("latin-1")


def _next(text: str, at: int) -> int:
    """Return the index of the next character that is not a space or a byte order mark.

    Returns the length of the text if there is no such character.
    """
    found = _NO_SPACE.search(text, at)
    return found.start() if found else len(text)


# --- Markup ---

_ELEMENT = re.compile(
    r"<(?P<qualified>(?:[A-Za-z_][\w.-]{0,99}:)?(?P<name>[A-Za-z_][\w.-]{0,99}))(?=[\s/>])"
    r"[^>]{0,2000}"
)
_DOCTYPE = re.compile(r"<!doctype\s+(?:[\w.-]{1,99}:)?(?P<name>[\w.-]{1,99})", re.IGNORECASE)
_NAMED: Final = {
    "svg": "image/svg+xml",
    "html": "text/html",
    "jnlp": "application/x-java-jnlp-file",
}
_HTML: Final = frozenset(
    {"head", "body", "title", "script", "style", "iframe", "h1", "div", "font", "table"}
    | {"a", "b", "br", "p"}
)
"""Elements that a browser accepts as the start of HTML (WHATWG MIME Sniffing, section 7.1)."""


def _markup(text: str) -> str | None:
    """Return the type of markup by its doctype or first element.

    Comments and declarations before it are skipped. Returns None if the text is no markup, for
    example if it begins with words in angle brackets.
    """
    at, declared = 0, False
    while True:
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
        elif text.startswith("<?", at):
            declared = declared or text.startswith("<?xml", at)
            end = text.find("?>", at)
        else:
            break
        if end < 0:
            break
        at = _next(text, end + (3 if text[end] == "-" else 2))
    doctype, element = _DOCTYPE.match(text, at), _ELEMENT.match(text, at)
    first = doctype or element
    name = first["name"].lower() if first else ""
    if name in _NAMED:
        return _NAMED[name]
    if declared or doctype:
        return "text/xml"
    if name in _HTML:
        return "text/html"
    if element and ("xmlns" in element[0] or text.rstrip().endswith(f"</{element['qualified']}>")):
        return "text/xml"
    return None


# --- JSON ---

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{},:]', re.DOTALL)
_CUT_VALUE = re.compile(r'\s*+(?:"(?:[^"\\\x00-\x1f]|\\.)*\\?"?|-?[0-9.eE+-]{0,40}|[a-z]{0,5})\s*+')


def _is_json(text: str, *, whole: bool) -> bool:
    """Return True if a text is JSON, or the start of JSON if it is not `whole`.

    The start is cut after its last bracket, comma or colon, and its open brackets are closed. The
    result must be JSON, and the rest must be the start of a value.
    """
    if whole:
        return _parses(text)
    closing: list[str] = []
    end, last = 0, ""
    for found in _TOKEN.finditer(text[:_PARSED]):
        match found[0]:
            case "[":
                closing.append("]")
            case "{":
                closing.append("}")
            case "]" | "}" as close:
                if not closing or closing.pop() != close:
                    return False
            case "," | ":":
                pass
            case _:
                continue  # a string: do not cut after it, because it may be a key
        end, last = found.end(), found[0]
    kept = text[: end - 1] if last == "," else text[:end]
    value = "null" if last == ":" else ""
    cut = text[end:_PARSED]
    return _CUT_VALUE.fullmatch(cut) is not None and _parses(
        kept + value + "".join(reversed(closing))
    )


def _parses(json: str) -> bool:
    try:
        orjson.loads(json)
    except orjson.JSONDecodeError:
        return False
    return True


# --- Tables ---

_ROWS: Final = 30
_TABLES: Final = {",": "text/csv", ";": "text/csv", "\t": "text/tab-separated-values"}


def _table(text: str, *, whole: bool) -> str | None:
    """Return the type of a table by its delimiter; None if the text is not a table.

    A table has three or more rows with the same number of fields.
    """
    first = text.partition("\n")[0]
    for delimiter, name in _TABLES.items():
        if delimiter in first and _is_table(_rows(text, delimiter, whole=whole)):
            return name
    return None


def _rows(text: str, delimiter: str, *, whole: bool) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        while len(rows) < _ROWS and (row := next(reader, None)) is not None:
            rows.append(row)
    except csv.Error:
        return [] if whole else rows  # the text may be cut inside quotes
    if not whole and len(rows) < _ROWS:
        rows.pop()  # the last row may be cut
    return [row for row in rows if row]


def _is_table(rows: list[list[str]]) -> bool:
    """Return True if rows form a table; False for lines of code or verse."""
    if len(rows) < 3 or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    if not any(row[0].strip() for row in rows) or not any(row[-1].strip() for row in rows):
        return False  # code: each line begins with a tab or ends with a semicolon
    return len(rows[0]) > 2 or not all(row[1].startswith(" ") for row in rows)
