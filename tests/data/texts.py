"""Test files of text and markup in many charsets, by name."""

from collections.abc import Mapping
from typing import Final

from tests.data import images
from tests.data.writing import HEAD, WORDS, XML, Document, long_json, svg

_UMLAUTS: Final = "Schöne Grüße aus Köln, überall hört man's.\n"
_TABLE: Final = "name,city,age\nÄnne,Köln,31\nBob,Rome,44\nCid,Oslo,52\n"
_CRLF_TABLE: Final = b"a,b\r\n" + b'"x, y","say ""z"""\r\n' * 3
TEXTS: Final[Mapping[str, Document]] = {
    # The next entries are files of markup.
    "svg": (svg, "a.svg", "image/svg+xml"),
    "svg-bom": (lambda: svg("\ufeff"), "a.svg", "image/svg+xml"),
    "svg-comment": (lambda: svg("\n <!-- <html> -->\n<!-- b -->"), "a.svg", "image/svg+xml"),
    "svg-long-comment": (
        lambda: svg(f"<?xml version='1.0'?><!-- {'x ' * 9000}-->"),
        "a.svg",
        "image/svg+xml",
    ),
    "svg-doctype": (
        lambda: svg(
            '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
            '"http://www.w3.org/svg11.dtd" [<!ENTITY a "<html>">]>\n'
        ),
        "a.svg",
        "image/svg+xml",
    ),
    "svg-utf-16": (lambda: svg(encoding="utf-16"), "a.svg", "image/svg+xml"),
    "svg-upper-case": (lambda: svg(name="SVG"), "a.svg", "image/svg+xml"),
    "svg-namespaced": (lambda: svg(name="s:svg"), "a.svg", "image/svg+xml"),
    "html": (lambda: images.HTML, "a.html", "text/html"),
    "html-comment": (lambda: b"\n<!-- <svg> --><body><svg/></body>", "a.html", "text/html"),
    "html-utf-16": (lambda: images.HTML.decode().encode("utf-16"), "a.html", "text/html"),
    "html-part": (lambda: b"<p>words</p>\n<svg/>", "a.html", "text/html"),
    "xhtml": (
        lambda: XML + b'<html xmlns="http://www.w3.org/1999/xhtml"/>',
        "a.xhtml",
        "text/html",
    ),
    "xml": (lambda: XML + b"<feed><svg/></feed>", "a.xml", "text/xml"),
    "xml-utf-16": (lambda: '<?xml version="1.0"?><a/>'.encode("utf-16"), "a.xml", "text/xml"),
    "xml-without-declaration": (
        lambda: b'<kml xmlns="http://x.example/">\n</kml>',
        "a.kml",
        "text/xml",
    ),
    # The next entries are plain texts.
    "text": (lambda: WORDS, "a.txt", "text/plain; charset=utf-8"),
    "text-one-letter": (lambda: b"a", "a.txt", "text/plain; charset=utf-8"),
    "text-utf-8": (lambda: _UMLAUTS.encode() * 3000, "a.txt", "text/plain; charset=utf-8"),
    "text-utf-8-late": (
        lambda: WORDS * 500 + _UMLAUTS.encode(),
        "a.txt",
        "text/plain; charset=utf-8",
    ),
    "text-utf-8-bom": (lambda: _UMLAUTS.encode("utf-8-sig"), "a.txt", "text/plain; charset=utf-8"),
    "text-utf-16": (lambda: _UMLAUTS.encode("utf-16"), "a.txt", "text/plain; charset=utf-16"),
    "text-utf-16-far": (
        lambda: _UMLAUTS.encode("utf-16") + _UMLAUTS.encode("utf-16-le") * 999,
        "a.txt",
        "text/plain; charset=utf-16",
    ),
    "text-latin-1": (lambda: _UMLAUTS.encode("latin-1"), "a.txt", "text/plain"),
    "text-latin-1-late": (lambda: WORDS * 500 + _UMLAUTS.encode("latin-1"), "a.txt", "text/plain"),
    "text-windows": (lambda: "„Grüße“ für 5 €\n".encode("cp1252"), "a.txt", "text/plain"),
    "text-code": (lambda: b"alert(document.cookie);\n" * 9, "a.js", "text/plain; charset=utf-8"),
    "text-verse": (
        lambda: b"O rose, thou art sick\nThe worm, that flies\nIn night, in storm\n",
        "a.txt",
        "text/plain; charset=utf-8",
    ),
    "text-footnote": (
        lambda: b"[1] A foot note\n[2] Another\n",
        "a.txt",
        "text/plain; charset=utf-8",
    ),
    "csv": (lambda: _TABLE.encode() * 2, "a.csv", "text/csv; charset=utf-8"),
    "csv-far": (lambda: _TABLE.encode() * 2000, "a.csv", "text/csv; charset=utf-8"),
    "csv-latin-1": (lambda: _TABLE.encode("latin-1"), "a.csv", "text/csv"),
    "csv-utf-16": (lambda: _TABLE.encode("utf-16"), "a.csv", "text/csv; charset=utf-16"),
    "csv-quoted": (lambda: _CRLF_TABLE, "a.csv", "text/csv; charset=utf-8"),
    "csv-semicolons": (
        lambda: _TABLE.replace(",", ";").encode(),
        "a.csv",
        "text/csv; charset=utf-8",
    ),
    "tsv": (
        lambda: _TABLE.replace(",", "\t").encode(),
        "a.tsv",
        "text/tab-separated-values; charset=utf-8",
    ),
    "json": (lambda: b'{"a": [1, 2, {"b": null}]}\n', "a.json", "application/json"),
    "json-far": (long_json, "a.json", "application/json"),
    "json-one-string": (
        lambda: b'{"data": "' + b"QUJD" * HEAD + b'"}',
        "a.json",
        "application/json",
    ),
    "json-broken": (lambda: b'{"a": [1, 2,], }', "a.json", "text/plain; charset=utf-8"),
    "json-lines": (lambda: b'{"a": 1}\n{"a": 2}\n', "a.jsonl", "text/plain; charset=utf-8"),
    "rtf": (lambda: b"{\\rtf1\\ansi words\\par}\n", "a.rtf", "text/rtf"),
}
