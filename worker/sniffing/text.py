"""What a text is: markup, JSON, a table or plain words, and in which charset if that is certain.

libmagic knows that something is text; but it takes verse with a comma in each line for a table,
`[1]` for JSON, a feed with a drawing inside for the drawing, notes with a tag somewhere for HTML or
a word of it for Java, and sees less behind a byte order mark, in UTF-16, or where a file is longer
than what is read of it. So its first bytes are read here again. A text may go on in any way behind
them: nothing that must be safe rests on this.
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
        "algol68", "asm", "bcpl", "c", "c++", "clojure", "forth", "fortran", "java", "lisp", "lua",
        "m4", "makefile", "objective-c", "pascal", "perl", "ruby", "script.python", "tcl",
    )
)  # fmt: skip
"""What libmagic calls a text in which some words stand; it is believed to what begins with `#!`."""

TEXTS: Final = _LANGUAGES | frozenset(
    {"text/plain", "text/csv", "text/html", "text/xml", "application/json", "image/svg+xml"}
)
"""The types that libmagic gives to what is looked at here again."""

_MARKUP: Final = frozenset({"text/html", "text/xml", "image/svg+xml"})

_MARKS: Final = {
    codecs.BOM_UTF8: ("utf-8", "utf-8-sig"),
    codecs.BOM_UTF32_LE: ("utf-32", "utf-32"),
    codecs.BOM_UTF32_BE: ("utf-32", "utf-32"),
    codecs.BOM_UTF16_LE: ("utf-16", "utf-16"),
    codecs.BOM_UTF16_BE: ("utf-16", "utf-16"),
}
"""The charset and Python's codec for each byte order mark, those of UTF-32 before UTF-16's."""

_NO_SPACE: Final = re.compile(r"[^\s\ufeff]")
_PARSED: Final = 16 * 1024
"""How much of a text is parsed, in characters."""


def identify_text(name: str, head: bytes, *, whole: bool) -> str:
    """Name a text more exactly than libmagic does, which calls it `name`.

    `head` is what it begins with, up to 64 KiB; `whole` if that is all of it.
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
        return "application/octet-stream"  # libmagic looked at less of it
    kind = _table(text[:_PARSED], whole=whole and len(text) <= _PARSED) or "text/plain"
    return f"{kind}; charset={charset}" if charset else kind


def _decoded(head: bytes, *, whole: bool) -> tuple[str | None, str]:
    """Tell the charset, None if it is uncertain, and the text in it or in Latin-1.

    ASCII counts as UTF-8: it was only begun. A character that is cut at the end changes nothing.
    The charsets of one byte are not told apart, nor from the older ones of China, Japan and Korea:
    where libmagic says `iso-8859-1`, it has only found no byte from 80 to 9F.
    """
    for mark, (charset, codec) in _MARKS.items():
        if head.startswith(mark):
            return charset, codecs.getincrementaldecoder(codec)("replace").decode(head)
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(head, whole)
    except UnicodeDecodeError:
        return None, head.decode("latin-1")


def _next(text: str, at: int) -> int:
    """Find the next character that is no space and no byte order mark; the end if there is none."""
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
"""Elements that a browser takes for the beginning of HTML (WHATWG MIME Sniffing, section 7.1)."""


def _markup(text: str) -> str | None:
    """Name markup by its first element, whatever comments, declarations or doctype precede it.

    None for what is none, such as words in angle brackets.
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
    """Whether it is JSON, or the beginning of some: cut behind a token, it is JSON once closed."""
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
                continue  # a string
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
    """Name a table: three rows or more of the same number of fields, by its delimiter."""
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
        return [] if whole else rows  # cut within quotes
    if not whole and len(rows) < _ROWS:
        rows.pop()  # cut
    return [row for row in rows if row]


def _is_table(rows: list[list[str]]) -> bool:
    """Whether rows are of a table, rather than lines of code or verse."""
    if len(rows) < 3 or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    if not any(row[0].strip() for row in rows) or not any(row[-1].strip() for row in rows):
        return False  # code: indented by tabs, or a semicolon at each line's end
    return len(rows[0]) > 2 or not all(row[1].startswith(" ") for row in rows)
