"""Other spellings of the key of another organization's attachment.

For each spelling, there is a store, proxy or file system that treats it as the original key.
"""

import unicodedata
from collections.abc import Iterator

ORIGINAL = "attachments/files/000/000/009/original/payroll.bin"
_FOLDER = "attachments/files/000/000/009/original"


def _spellings() -> Iterator[tuple[str, str]]:
    yield "as it is", ORIGINAL
    yield "thumbnail", ORIGINAL.replace("original", "thumb")
    yield "folder", _FOLDER
    yield "prefix", "attachments/files"
    yield "beside the prefix", "attachments/files-old/a"
    for name, slash in SLASHES.items():
        yield f"{name} before files", ORIGINAL.replace("/files", f"{slash}files")
        yield f"{name} before the file", slash.join(ORIGINAL.rsplit("/", 1))
        yield f"{name} everywhere", ORIGINAL.replace("/", slash)
        yield f"{name} in front", f"{slash}{ORIGINAL}"
        yield f"{name} at the end", f"{ORIGINAL}{slash}"
        yield f"{name} after the folder", f"{_FOLDER}{slash}"
        yield f"{name} after a folder that is not there", f"attachments/files/999{slash}"
    for name, filler in FILLERS.items():
        yield f"{name} in front", f"{filler}{ORIGINAL}"
        yield f"{name} within", ORIGINAL.replace("attach", f"attach{filler}", 1)
        yield f"{name} after a segment", ORIGINAL.replace("/files", f"{filler}/files")
        yield f"{name} at the end", f"{ORIGINAL}{filler}"
    yield "capitals", ORIGINAL.upper()
    yield "one capital", ORIGINAL.capitalize()
    yield "capitals of the folder", ORIGINAL.replace("files", "FILES")
    yield "full width", "".join(chr(ord(each) + 0xFEE0) for each in ORIGINAL)
    yield (
        "full width but slashes",
        "/".join("".join(chr(ord(each) + 0xFEE0) for each in part) for part in ORIGINAL.split("/")),
    )
    yield "ligature", ORIGINAL.replace("fi", "\ufb01")
    yield "long s", ORIGINAL.replace("s", "\u017f")
    yield "dotless i", ORIGINAL.replace("i", "\u0131")
    yield "dotted I", ORIGINAL.replace("i", "\u0130")
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield f"accent, {form}", unicodedata.normalize(form, ORIGINAL.replace("a", "\u00e1", 1))
    yield "through a folder", f"x/../{ORIGINAL}"
    yield "through a folder by backslashes", f"x\\..\\{ORIGINAL}"
    yield "through the bucket", f"../attachments-test/{ORIGINAL}"
    yield "version", f"{ORIGINAL}?versionId=null"
    yield "query", f"{ORIGINAL}?x"
    yield "fragment", f"{ORIGINAL}#x"
    yield "plus", ORIGINAL.replace("/files", "+/files")
    yield "percent letters", ORIGINAL.replace("a", "%61")
    yield "percent letters twice", ORIGINAL.replace("a", "%2561")
    yield "percent letters five times", ORIGINAL.replace("a", "%2525252561")
    yield "stream", ORIGINAL.replace("/files", "::$INDEX_ALLOCATION/files")
    yield "colon", ORIGINAL.replace("/", ":")
    yield "short name", ORIGINAL.replace("attachments", "ATTACH~1")
    yield "short name with a hash", ORIGINAL.replace("attachments", "AT3F2A~1")


SLASHES = {
    "two slashes": "//",
    "backslash": "\\",
    "slash and backslash": "/\\",
    "dot segment": "/./",
    "%2F": "%2F",
    "%2f": "%2f",
    "%5C": "%5C",
    "%252F": "%252F",
    "%255C": "%255C",
    "%25252F": "%25252F",
    "%u002F": "%u002F",
    "overlong of two": "%C0%AF",
    "overlong of three": "%E0%80%AF",
    "overlong of four": "%F0%80%80%AF",
    "overlong backslash": "%C1%9C",
    "full-width solidus": "\uff0f",
    "full-width backslash": "\uff3c",
    "full-width percent": "\uff052F",
    "small backslash": "\ufe68",
    "division slash": "\u2215",
    "fraction slash": "\u2044",
    "set minus": "\u2216",
    "big solidus": "\u29f8",
    "yen": "\u00a5",
    "won": "\u20a9",
}
FILLERS = {
    "NUL": "\x00",
    "tab": "\t",
    "line feed": "\n",
    "DEL": "\x7f",
    "next line": "\x85",
    "soft hyphen": "\u00ad",
    "zero-width space": "\u200b",
    "zero-width joiner": "\u200d",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "variation selector": "\ufe0f",
    "grapheme joiner": "\u034f",
    "Hangul filler": "\u3164",
    "override of direction": "\u202e",
    "tag": "\U000e0041",
    "encoded NUL": "%00",
    "combining accent": "\u0301",
}
_ENDINGS = {"dot": ".", "two dots": "..", "space": " ", "no-break space": "\u00a0"}

SPELLINGS = {
    **dict(_spellings()),
    **{
        f"{name} after a segment": ORIGINAL.replace("/files", f"{ending}/files")
        for name, ending in _ENDINGS.items()
    },
}
"""The spellings of ORIGINAL, by their descriptions."""
