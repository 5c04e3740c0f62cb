"""Documents, archives, films and texts of every kind that is told apart, written from code."""

import gzip
import io
import json
import struct
import tarfile
import wave
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image

from tests.data import images
from tests.data.containers import box, file_type, matroska, movie, ole_of, zip64_of, zip_of

HEAD: Final = 64 * 1024
"""What is read of every file; generators named `far` put what tells beyond it."""
WORDS: Final = b"Every good boy deserves a second chance; so do girls.\n"
CLASS_FILE: Final = b"\xca\xfe\xba\xbe\x00\x00\x00\x34" + bytes(60)
_XML: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_MANIFEST: Final = ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\nMain-Class: A\r\n\r\n")
_OOXML: Final = "application/vnd.openxmlformats-officedocument."
_ODF: Final = "application/vnd.oasis.opendocument."


def ooxml(main_part: str, *, macros: bool = False, first: str = "", filling: int = 0) -> bytes:
    """Write an Office document; `first` is an entry put before all, `filling` the media's bytes."""
    folder = main_part.partition("/")[0]
    entries = [
        ("[Content_Types].xml", _XML + b"<Types/>"),
        ("_rels/.rels", _XML + b"<Relationships/>"),
        (f"{folder}/media/image1.bin", bytes(filling)),
        (main_part, _XML + b"<document/>"),
        ("docProps/app.xml", _XML + b"<Properties/>"),
    ]
    if macros:
        entries.append((f"{folder}/vbaProject.bin", ole_of(["PROJECT"])))
    return zip_of([(first, b"words"), *entries] if first else entries)


def with_mimetype(
    kind: str, *parts: str, filling: int = 0, first: bool = True, compressed: bool = False
) -> bytes:
    """Write a ZIP that says in its entry `mimetype` what it is: OpenDocument, EPUB."""
    entries = [(part, _XML + b"<a/>") for part in parts] + [("media.bin", bytes(filling))]
    entries.insert(0 if first else len(entries), ("mimetype", kind.encode()))
    return zip_of(entries, compressed=compressed)


def _opendocument(kind: str) -> bytes:
    return with_mimetype(_ODF + kind, "content.xml", "styles.xml", "META-INF/manifest.xml")


def jar(
    *,
    before: int = 0,
    after: int = 0,
    prefix: bytes = b"",
    comment: bytes = b"",
    manifest: str = _MANIFEST[0],
    name_bytes: int = 12,
) -> bytes:
    """Write a Java archive whose manifest has that many entries before and after it."""
    other = [(f"a/{index:0{name_bytes}}.txt", b"") for index in range(before + after)]
    entries = [*other[:before], (manifest, _MANIFEST[1]), *other[before:], ("A.class", CLASS_FILE)]
    return zip_of(entries, prefix=prefix, comment=comment)


def jar_that_looks_like_docx() -> bytes:
    """Write a Java archive that begins as an Office document does."""
    return zip_of(
        [
            ("[Content_Types].xml", _XML + b"<Types/>"),
            ("word/document.xml", _XML),
            _MANIFEST,
            ("A.class", CLASS_FILE),
        ]
    )


def jar_behind_other_end() -> bytes:
    """Write a Java archive with junk behind it that reads like the end of another archive."""
    return jar() + b"PK\5\6" + bytes(4) + struct.pack("<HHIIH", 9, 9, 414, 7, 5) + bytes(90)


def apk(filling: int = 0) -> bytes:
    """Write an Android package."""
    return zip_of([("classes.dex", b"dex\n035\0" + bytes(filling)), ("AndroidManifest.xml", b"\3")])


def plain_zip(filling: int = 0) -> bytes:
    """Write a ZIP of texts, and of a Java archive, which does not make it one."""
    return zip_of([("words.txt", WORDS), ("fill.bin", bytes(filling)), ("lib.jar", jar())])


def tar() -> bytes:
    """Write a tape archive of one text."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("words.txt")
        entry.size = len(WORDS)
        archive.addfile(entry, io.BytesIO(WORDS))
    return file.getvalue()


def dmg(filling: int = 3000) -> bytes:
    """Write a disk image of Apple's: anything, and 512 bytes at the end that say so."""
    return bytes([1, 7, 3] * (filling // 3)) + struct.pack("!4sII500s", b"koly", 4, 512, b"")


def film(
    major: bytes,
    *handlers: bytes,
    compatible: tuple[bytes, ...] = (b"isom",),
    filling: int = 2000,
    last: bool = False,
    table_bytes: int = 0,
) -> bytes:
    """Write a film with tracks of these handlers, its `moov` before or behind its samples."""
    samples, about = box(b"mdat", bytes(filling)), movie(*handlers, table_bytes=table_bytes)
    parts = [samples, about] if last else [about, samples]
    return file_type(major, *compatible) + b"".join(parts)


def film_of_long_boxes(*handlers: bytes) -> bytes:
    """Write a film whose samples have a length of eight bytes, and whose `moov` goes to the end."""
    samples = struct.pack("!I4sQ", 1, b"mdat", 16 + HEAD) + bytes(HEAD)
    about = movie(*handlers)
    return file_type(b"isom") + samples + bytes(4) + about[4:]


def quicktime_without_type() -> bytes:
    """Write a film as QuickTime did before there was `ftyp`."""
    return box(b"wide") + box(b"mdat", bytes(2000)) + movie(b"vide")


def heif(major: bytes, *compatible: bytes) -> bytes:
    """Write the beginning of a HEIF image of any brand."""
    handler = box(b"hdlr", bytes(8), b"pict", bytes(13))
    return file_type(major, *compatible) + box(b"meta", bytes(4), handler) + box(b"mdat", bytes(99))


def svg(before: str = "", *, encoding: str = "utf-8", name: str = "svg") -> bytes:
    """Write an SVG drawing with something before its first element."""
    return (before + f'<{name} xmlns="http://www.w3.org/2000/svg"><g/></{name}>').encode(encoding)


def pdf(junk: bytes = b"") -> bytes:
    """Write an empty document of one page; its table of objects is right without the junk."""
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>",
    ]
    body, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        junk
        + body
        + b"xref\n0 4\n0000000000 65535 f \n%strailer\n<</Size 4/Root 1 0 R>>\n" % (table)
        + b"startxref\n%d\n%%%%EOF\n" % len(body)
    )


def long_json() -> bytes:
    """Write JSON that is longer than what is read of it."""
    rows = [
        {"id": n, "name": 'a, "b" [c] {d}', "on": n % 2 == 0, "x": [1.5e3]} for n in range(3000)
    ]
    return json.dumps(rows, indent=1).encode()


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(800))
    return file.getvalue()


_MP3_FRAME: Final = b"\xff\xfb\x90\x64" + bytes(413)
_FLAC: Final = (
    b"fLaC\x80\x00\x00\x22"
    + struct.pack("!HH", 4096, 4096)
    + bytes(6)
    + bytes.fromhex("0AC442F000000000")
    + bytes(16)
)
_OGG: Final = b"OggS\0\2" + bytes(20) + b"\1\x13" + b"OpusHead\1\2\x38\1\x80\xbb\0\0\0\0\0"
_PSD: Final = b"8BPS" + struct.pack("!H6sHIIHH", 1, b"", 3, 4, 4, 8, 3) + bytes(14)
_EPS_HEAD: Final = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
_SEVEN_Z: Final = b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24)
_RAR: Final = b"Rar!\x1a\x07\x01\x00" + bytes.fromhex("3392b5e50a01050600050101808000")
_UMLAUTS: Final = "Schöne Grüße aus Köln, überall hört man's.\n"
_TABLE: Final = "name,city,age\nÄnne,Köln,31\nBob,Rome,44\nCid,Oslo,52\n"
_CRLF_TABLE: Final = b"a,b\r\n" + b'"x, y","say ""z"""\r\n' * 3

DOCUMENTS: Final[Mapping[str, tuple[Callable[[], bytes], str, str]]] = {
    # Office documents of ZIP
    "docx": (lambda: ooxml("word/document.xml"), "a.docx", _OOXML + "wordprocessingml.document"),
    "docx-far": (
        lambda: ooxml("word/document.xml", filling=2 * HEAD, first="a.txt"),
        "a.docx",
        _OOXML + "wordprocessingml.document",
    ),
    "xlsx": (lambda: ooxml("xl/workbook.xml"), "a.xlsx", _OOXML + "spreadsheetml.sheet"),
    "pptx": (
        lambda: ooxml("ppt/presentation.xml"),
        "a.pptx",
        _OOXML + "presentationml.presentation",
    ),
    "docm": (
        lambda: ooxml("word/document.xml", macros=True),
        "a.docm",
        "application/vnd.ms-word.document.macroEnabled.12",
    ),
    "xlsm": (
        lambda: ooxml("xl/workbook.xml", macros=True),
        "a.xlsm",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
    ),
    "pptm": (
        lambda: ooxml("ppt/presentation.xml", macros=True),
        "a.pptm",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
    ),
    "xlsb": (
        lambda: ooxml("xl/workbook.bin"),
        "a.xlsb",
        "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
    ),
    "odt": (lambda: _opendocument("text"), "a.odt", _ODF + "text"),
    "ods": (lambda: _opendocument("spreadsheet"), "a.ods", _ODF + "spreadsheet"),
    "odp": (lambda: _opendocument("presentation"), "a.odp", _ODF + "presentation"),
    "odt-said-last": (
        lambda: with_mimetype(
            _ODF + "text", "content.xml", filling=2 * HEAD, first=False, compressed=True
        ),
        "a.odt",
        _ODF + "text",
    ),
    "epub": (
        lambda: with_mimetype("application/epub+zip", "META-INF/container.xml"),
        "a.epub",
        "application/epub+zip",
    ),
    "zip": (plain_zip, "a.zip", "application/zip"),
    "zip-far": (lambda: plain_zip(3 * HEAD), "a.zip", "application/zip"),
    "zip-of-nothing": (lambda: zip_of([]), "a.zip", "application/zip"),
    "zip-of-classes": (
        lambda: zip_of([(f"{n:0200}.class", CLASS_FILE) for n in range(2000)]),
        "a.zip",
        "application/zip",
    ),
    "zip-with-comment": (
        lambda: zip_of([("a", b"b")], comment=bytes(65535)),
        "a.zip",
        "application/zip",
    ),
    "zip-behind-other": (
        lambda: zip_of([("a", b"b")], prefix=bytes(99)),
        "a.bin",
        "application/zip",
    ),
    "zip64": (lambda: zip64_of([("a", WORDS)]), "a.zip", "application/zip"),
    # what a desktop would run
    "jar": (jar, "a.jar", "application/java-archive"),
    "jar-like-docx": (jar_that_looks_like_docx, "a.docx", "application/java-archive"),
    "jar-in-lower-case": (
        lambda: jar(before=3, manifest="meta-inf/Manifest.mf"),
        "a.zip",
        "application/java-archive",
    ),
    "jar-manifest-far": (lambda: jar(before=1500, after=1500), "a.zip", "application/java-archive"),
    "jar-behind-text": (lambda: jar(prefix=WORDS * 3), "a.txt", "application/java-archive"),
    "jar-behind-far": (lambda: jar(prefix=WORDS * 3000), "a.txt", "application/java-archive"),
    "jar-behind-film": (
        lambda: jar(prefix=film(b"isom", b"vide", filling=HEAD)),
        "a.mp4",
        "application/java-archive",
    ),
    "jar-with-comment": (
        lambda: jar(before=9, comment=b"PK\5\6" * 16383),
        "a.jar",
        "application/java-archive",
    ),
    "jar-behind-other-end": (jar_behind_other_end, "a.zip", "application/java-archive"),
    "jar-zip64": (lambda: zip64_of([("a", b"b"), _MANIFEST]), "a.zip", "application/java-archive"),
    "jar-of-thousands": (
        lambda: jar(before=400, after=400, name_bytes=5000),
        "a.zip",
        "application/java-archive",
    ),
    "apk": (lambda: apk(2 * HEAD), "a.apk", "application/vnd.android.package-archive"),
    "msi": (
        lambda: ole_of(["\u4840\u3f3f"], clsid="000c1084-0000-0000-c000-000000000046"),
        "a.msi",
        "application/x-msi",
    ),
    "msi-far": (
        lambda: ole_of(["WordDocument"], clsid="000c1084-0000-0000-c000-000000000046", before=300),
        "a.doc",
        "application/x-msi",
    ),
    "dmg": (dmg, "a.dmg", "application/x-apple-diskimage"),
    "dmg-far": (lambda: dmg(3 * HEAD), "a.bin", "application/x-apple-diskimage"),
    "exe": (lambda: images.PE, "a.png", "application/x-dosexec"),
    "elf": (lambda: images.ELF, "a.png", "application/x-executable"),
    "shell": (lambda: images.SCRIPT, "a.txt", "text/x-shellscript"),
    "shortcut": (
        lambda: bytes.fromhex("4C0000000114020000000000C000000000000046") + bytes(56),
        "a.txt",
        "application/x-ms-shortcut",
    ),
    "desktop-entry": (
        lambda: b"[Desktop Entry]\nType=Application\nExec=sh\n",
        "a.txt",
        "application/x-desktop",
    ),
    "desktop-entry-commented": (
        lambda: b"#!/usr/bin/env xdg-open\n\n# words\r\n  [Desktop Entry]\nExec=sh\n",
        "a.txt",
        "application/x-desktop",
    ),
    "jnlp": (
        lambda: _XML + b'<jnlp spec="1.0+" codebase="http://x.example/"></jnlp>',
        "a.xml",
        "application/x-java-jnlp-file",
    ),
    # OLE
    "doc": (lambda: ole_of(["1Table", "WordDocument"]), "a.doc", "application/msword"),
    "doc-far": (
        lambda: ole_of(["1Table", "WordDocument"], before=300),
        "a.doc",
        "application/msword",
    ),
    "doc-by-class": (
        lambda: ole_of(["x"], clsid="00020906-0000-0000-c000-000000000046"),
        "a.doc",
        "application/msword",
    ),
    "doc-holding-xls": (
        lambda: ole_of(["WordDocument"], within=["Workbook"]),
        "a.doc",
        "application/msword",
    ),
    "xls": (lambda: ole_of(["Workbook"]), "a.xls", "application/vnd.ms-excel"),
    "xls-large-sectors": (
        lambda: ole_of(["Workbook"], before=40, shift=12),
        "a.xls",
        "application/vnd.ms-excel",
    ),
    "ppt": (
        lambda: ole_of(["Current User", "PowerPoint Document"]),
        "a.ppt",
        "application/vnd.ms-powerpoint",
    ),
    "msg": (
        lambda: ole_of(["__nameid_version1.0", "__properties_version1.0"]),
        "a.msg",
        "application/vnd.ms-outlook",
    ),
    "ole": (lambda: ole_of(["Catalog"]), "Thumbs.db", "application/x-ole-storage"),
    # boxes
    "heic": (lambda: heif(b"heic", b"mif1", b"heic"), "a.heic", "image/heic"),
    "heic-by-compatible": (lambda: heif(b"mif1", b"mif1", b"heic"), "a.heic", "image/heic"),
    "heif": (lambda: heif(b"mif1", b"mif1", b"miaf"), "a.heif", "image/heif"),
    "avif": (lambda: heif(b"avif", b"mif1", b"avif"), "a.avif", "image/avif"),
    "avif-by-compatible": (lambda: heif(b"mif1", b"avif", b"miaf"), "a.avif", "image/avif"),
    "mp4": (lambda: film(b"isom", b"soun", b"vide"), "a.mp4", "video/mp4"),
    "mp4-far": (
        lambda: film(b"mp42", b"soun", b"vide", filling=3 * HEAD, last=True),
        "a.mp4",
        "video/mp4",
    ),
    "mp4-far-track": (
        lambda: film(b"mp42", b"soun", b"vide", table_bytes=2 * HEAD),
        "a.mp4",
        "video/mp4",
    ),
    "mp4-audio": (lambda: film(b"isom", b"soun"), "a.mp4", "audio/mp4"),
    "mp4-audio-far": (
        lambda: film(b"isom", b"soun", filling=3 * HEAD, last=True),
        "a.mp4",
        "audio/mp4",
    ),
    "mp4-audio-long-boxes": (lambda: film_of_long_boxes(b"soun"), "a.mp4", "audio/mp4"),
    "mp4-of-sony": (
        lambda: film(b"XAVC", b"vide", compatible=(b"XAVC", b"mp42")),
        "a.mp4",
        "video/mp4",
    ),
    "cr3": (
        lambda: film(b"crx ", b"vide", compatible=(b"crx ", b"isom")),
        "a.cr3",
        "image/x-canon-cr3",
    ),
    "mj2": (lambda: film(b"mj2s", b"vide", compatible=(b"mj2s", b"isom")), "a.mj2", "video/mj2"),
    "m4v": (lambda: film(b"M4V ", b"vide", b"soun"), "a.m4v", "video/x-m4v"),
    "m4a": (lambda: film(b"M4A ", b"soun"), "a.m4a", "audio/mp4"),
    "mov": (lambda: film(b"qt  ", b"vide", compatible=(b"qt  ",)), "a.mov", "video/quicktime"),
    "mov-without-type": (quicktime_without_type, "a.mov", "video/quicktime"),
    "3gp": (lambda: film(b"3gp5", b"vide"), "a.3gp", "video/3gpp"),
    "3gp-audio": (lambda: film(b"3gp4", b"soun"), "a.3gp", "audio/3gpp"),
    # EBML
    "webm": (lambda: matroska(b"webm", 1, 2), "a.webm", "video/webm"),
    "webm-audio": (lambda: matroska(b"webm", 2), "a.webm", "audio/webm"),
    "mkv": (lambda: matroska(b"matroska", 2, 1), "a.mkv", "video/x-matroska"),
    "mka": (lambda: matroska(b"matroska", 2), "a.mka", "audio/x-matroska"),
    # markup
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
        lambda: _XML + b'<html xmlns="http://www.w3.org/1999/xhtml"/>',
        "a.xhtml",
        "text/html",
    ),
    "xml": (lambda: _XML + b"<feed><svg/></feed>", "a.xml", "text/xml"),
    "xml-utf-16": (lambda: '<?xml version="1.0"?><a/>'.encode("utf-16"), "a.xml", "text/xml"),
    "xml-without-declaration": (
        lambda: b'<kml xmlns="http://x.example/">\n</kml>',
        "a.kml",
        "text/xml",
    ),
    # texts
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
    # the rest
    "pdf": (pdf, "a.pdf", "application/pdf"),
    "pdf-behind-bytes": (lambda: pdf(bytes(range(256)) * 3), "a.pdf", "application/pdf"),
    "pdf-behind-text": (lambda: pdf(WORDS * 15), "a.pdf", "application/pdf"),
    "gzip": (lambda: gzip.compress(WORDS, mtime=0), "a.gz", "application/gzip"),
    "7z": (lambda: _SEVEN_Z, "a.7z", "application/x-7z-compressed"),
    "rar": (lambda: _RAR, "a.rar", "application/vnd.rar"),
    "tar": (tar, "a.tar", "application/x-tar"),
    "mp3": (lambda: _MP3_FRAME * 9, "a.mp3", "audio/mpeg"),
    "mp3-tagged": (
        lambda: b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + _MP3_FRAME * 9,
        "a.mp3",
        "audio/mpeg",
    ),
    "wav": (_wav, "a.wav", "audio/wav"),
    "flac": (lambda: _FLAC, "a.flac", "audio/flac"),
    "ogg": (lambda: _OGG, "a.ogg", "audio/ogg"),
    "psd": (lambda: _PSD, "a.psd", "image/vnd.adobe.photoshop"),
    "tiff": (lambda: images.encode(images.quadrants(), "TIFF"), "a.tif", "image/tiff"),
    "bmp": (lambda: images.encode(images.quadrants(), "BMP"), "a.bmp", "image/bmp"),
    "ico": (
        lambda: images.encode(images.quadrants(32, 32), "ICO"),
        "a.ico",
        "image/vnd.microsoft.icon",
    ),
    "eps": (lambda: _EPS_HEAD, "a.eps", "application/postscript"),
    "jpeg": (images.photo, "a.jpg", "image/jpeg"),
    "mpo": (
        lambda: images.encode(
            images.quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]
        ),
        "a.jpg",
        "image/jpeg",
    ),
    "png-and-jar": (
        lambda: jar(prefix=images.encode(images.quadrants(), "PNG")),
        "a.png",
        "image/png",
    ),
}
"""By name: what makes the bytes, how a client would name the file, and what it truly is."""
