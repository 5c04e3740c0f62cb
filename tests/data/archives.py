"""Test files by name: office documents, archives, and programs that a double click would start."""

from collections.abc import Mapping
from typing import Final

from tests.data import images
from tests.data.containers import ole_of, zip64_of, zip_of
from tests.data.writing import (
    CLASS_FILE,
    HEAD,
    MANIFEST,
    WORDS,
    XML,
    Document,
    apk,
    dmg,
    film,
    jar,
    jar_after_other_end,
    jar_that_looks_like_docx,
    ooxml,
    plain_zip,
    with_mimetype,
)

_OOXML: Final = "application/vnd.openxmlformats-officedocument."
_ODF: Final = "application/vnd.oasis.opendocument."


def _opendocument(kind: str) -> bytes:
    return with_mimetype(_ODF + kind, "content.xml", "styles.xml", "META-INF/manifest.xml")


OFFICE: Final[Mapping[str, Document]] = {
    # The next entries are Office documents in ZIP format.
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
    "odt-type-last": (
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
    "zip-after-other": (
        lambda: zip_of([("a", b"b")], prefix=bytes(99)),
        "a.bin",
        "application/zip",
    ),
    "zip64": (lambda: zip64_of([("a", WORDS)]), "a.zip", "application/zip"),
    # The next entries are Office documents in OLE format.
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
}
RUNNABLE: Final[Mapping[str, Document]] = {
    "jar": (jar, "a.jar", "application/java-archive"),
    "jar-like-docx": (jar_that_looks_like_docx, "a.docx", "application/java-archive"),
    "jar-in-lower-case": (
        lambda: jar(before=3, manifest="meta-inf/Manifest.mf"),
        "a.zip",
        "application/java-archive",
    ),
    "jar-manifest-far": (lambda: jar(before=1500, after=1500), "a.zip", "application/java-archive"),
    "jar-after-text": (lambda: jar(prefix=WORDS * 3), "a.txt", "application/java-archive"),
    "jar-after-far": (lambda: jar(prefix=WORDS * 3000), "a.txt", "application/java-archive"),
    "jar-after-film": (
        lambda: jar(prefix=film(b"isom", b"vide", filling=HEAD)),
        "a.mp4",
        "application/java-archive",
    ),
    "jar-with-comment": (
        lambda: jar(before=9, comment=b"PK\5\6" * 16383),
        "a.jar",
        "application/java-archive",
    ),
    "jar-after-other-end": (jar_after_other_end, "a.zip", "application/java-archive"),
    "jar-zip64": (lambda: zip64_of([("a", b"b"), MANIFEST]), "a.zip", "application/java-archive"),
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
        lambda: XML + b'<jnlp spec="1.0+" codebase="http://x.example/"></jnlp>',
        "a.xml",
        "application/x-java-jnlp-file",
    ),
}
