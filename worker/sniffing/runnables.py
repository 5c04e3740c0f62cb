"""Files that a desktop runs and libmagic does not know, by how they begin.

Texts are read in the encoding that their byte order mark says, since Windows writes most of these
in UTF-16. Only what the format itself demands at its beginning counts: a note that speaks of a
shortcut is a note.
"""

import codecs
import re
from typing import Final

_SHORTCUT: Final = bytes.fromhex("4C0000000114020000000000C000000000000046")
"""What a shortcut of Windows begins with ([MS-SHLLINK], section 2.1)."""

_SIGNATURES: Final = {
    _SHORTCUT: "application/x-ms-shortcut",
    b"ITSF\x03\0\0\0": "application/vnd.ms-htmlhelp",
    b"\x3f\x5f\x03\0": "application/winhlp",
    b"xar!": "application/x-xar",
    b"Cr24": "application/x-chrome-extension",
    b"hsqs": "application/vnd.snap",
    b"bplist00\xd1\x01\x02SURL": "application/x-apple-location",
}
"""Signatures at offset 0. A squashfs image is a package of snap wherever a desktop opens it."""

_LOOKED_AT: Final = 64 * 1024
"""How many characters of a text are looked at: all of its head. Each expression is linear."""

_ENCODED: Final = re.compile(r"#@~\^[A-Za-z0-9+/=]{6}==")
"""The header of what Microsoft's Script Encoder writes (VBE, JSE): the length in Base64."""

_FIRST_GROUP: Final = re.compile(r"(?:\s*+(?:[#;][^\n]*+)?\n)*+\s*+\[([^\]\n]{1,60})\]")
_GROUPS: Final = {
    "desktop entry": "application/x-desktop",
    "internetshortcut": "application/x-mswinurl",
    "internetshortcut.a": "application/x-mswinurl",
    "internetshortcut.w": "application/x-mswinurl",
    "flatpak ref": "application/vnd.flatpak.ref",
    "flatpak repo": "application/vnd.flatpak.repo",
}
"""The first group of an INI file, in lower case, that alone says what it is."""

_SHELL: Final = re.compile(r"^\s*command\s*=\s*\S", re.IGNORECASE | re.MULTILINE)
_THEME: Final = re.compile(
    r"^\s*\[(?:VisualStyles|MasterThemeSelector|Control Panel\\)", re.MULTILINE | re.IGNORECASE
)
_REGISTRY: Final = re.compile(r"\s*+(?:Windows Registry Editor Version \d|REGEDIT4?\s*$)", re.M)
_BATCH: Final = re.compile(r"\s*+(?:@\s*echo\s+off\b|@?rem\s[^\n]*\n\s*@\s*echo\s+off\b)", re.I)

_ELEMENT: Final = re.compile(r"<(?:[a-z_][\w.-]{0,40}:)?([a-z_][\w.-]{0,60})(?=[\s/>])", re.I)
_ROOTS: Final = {
    "mmc_consolefile": "application/x-ms-console",
    "pcsettings": "application/x-ms-settings-shortcut",
    "librarydescription": "application/x-ms-library",
    "searchconnectordescription": "application/x-ms-library",
    "persistedquery": "application/x-ms-library",
    "appinstaller": "application/x-ms-appinstaller",
    "scriptlet": "text/scriptlet",
    "jnlp": "application/x-java-jnlp-file",
    "installer-gui-script": "application/vnd.apple.installer+xml",
    "installer-script": "application/vnd.apple.installer+xml",
}
"""The root element of an XML file, in lower case and without its prefix."""

_SCRIPTED: Final = re.compile(r"<(?:script|\?job)\b", re.I)
_HTA: Final = re.compile(r"<hta:application\b", re.I)
_DEPLOYMENT: Final = re.compile(r"<(?:[\w.-]{1,40}:)?(?:deployment|hostInBrowser)\b", re.I)
_LOCATION: Final = re.compile(r"<dict>\s*<key>\s*URL\s*</key>")
_PLIST_KEY: Final = re.compile(r"<key>\s*(PayloadType|CommandString|shellExitAction)\s*</key>")
_PLISTS: Final = {
    "PayloadType": "application/x-apple-aspen-config",
    "CommandString": "application/x-apple-terminal-settings",
    "shellExitAction": "application/x-apple-terminal-settings",
}


def identify_runnable(head: bytes) -> str | None:
    """Name what a file is that begins with `head` and that a desktop runs; None for all others.

    Knows what libmagic does not: programs are left to that. Never raises for what the bytes are.
    """
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    text = _text(head)
    if text is None:
        return None
    if _ENCODED.match(text):
        return "application/x-vbscript-encoded"
    if group := _FIRST_GROUP.match(text):
        return _ini(group[1].strip().lower(), text)
    if _REGISTRY.match(text):
        return "text/x-ms-regedit"
    if _BATCH.match(text):
        return "text/x-msdos-batch"
    if _is_application_reference(text):
        return "application/x-ms-application"
    return _markup(text)


def _text(head: bytes) -> str | None:
    """Decode a text by its byte order mark, else as Latin-1; None for what is binary."""
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):  # fmt: skip
        if head.startswith(mark):
            body = head[len(mark) : len(mark) + 2 * _LOOKED_AT]
            return codecs.getincrementaldecoder(codec)("replace").decode(body)[:_LOOKED_AT]
    beginning = head[:_LOOKED_AT]
    return None if b"\0" in beginning[:256] else beginning.decode("latin-1")


def _ini(group: str, text: str) -> str | None:
    if group == "shell" and _SHELL.search(text):
        return "application/x-ms-shell-command"
    if group == "theme" and _THEME.search(text):
        return "application/x-ms-theme"
    return _GROUPS.get(group)


def _is_application_reference(text: str) -> bool:
    # ClickOnce: the address of the deployment, its identity after "#" (an .appref-ms file)
    first = text.lstrip().partition("\n")[0]
    return first.startswith(("http://", "https://", "file://")) and ".application#" in first


def _markup(text: str) -> str | None:
    if not text.lstrip().startswith("<"):
        return None
    if _HTA.search(text):
        return "application/hta"
    root = next((each[1].lower() for each in _ELEMENT.finditer(text)), "")
    if root in ("job", "package", "component") and _SCRIPTED.search(text):
        return "application/x-windows-script"
    if root == "assembly" and _DEPLOYMENT.search(text):
        return "application/x-ms-application"
    if root == "plist" and _LOCATION.search(text):
        return "application/x-apple-location"
    if root == "plist" and (key := _PLIST_KEY.search(text)):
        return _PLISTS[key[1]]
    return _ROOTS.get(root)
