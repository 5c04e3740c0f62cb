"""Identify files that libmagic does not know but that a desktop runs if a user opens them.

Texts are decoded by their byte order mark, because Windows writes most of these files in UTF-16.
Only the start of the text is compared, so a note that mentions a shortcut is not identified as a
shortcut.
"""

import codecs
import re
from typing import Final

_SHORTCUT: Final = bytes.fromhex("4C0000000114020000000000C000000000000046")
"""The first bytes of a Windows shortcut ([MS-SHLLINK], section 2.1)."""

_SIGNATURES: Final = {
    _SHORTCUT: "application/x-ms-shortcut",
    b"ITSF\x03\0\0\0": "application/vnd.ms-htmlhelp",
    b"\x3f\x5f\x03\0": "application/winhlp",
    b"xar!": "application/x-xar",
    b"Cr24": "application/x-chrome-extension",
    b"hsqs": "application/vnd.snap",
    b"bplist00\xd1\x01\x02SURL": "application/x-apple-location",
}
"""Signatures at offset 0. `hsqs` is a squashfs image, which a desktop opens as a snap package."""

_LOOKED_AT: Final = 64 * 1024
"""Number of characters of a text that are searched: the whole head. This is fast enough, because
each regular expression takes linear time."""

_ENCODED: Final = re.compile(r"#@~\^[A-Za-z0-9+/=]{6}==")
"""The header of scripts from Microsoft's Script Encoder (VBE, JSE), which contains the script's
length in Base64."""

_FIRST_GROUP: Final = re.compile(r"(?:\s*+(?:[#;][^\n]*+)?\n)*+\s*+\[([^\]\n]{1,60})\]")
_GROUPS: Final = {
    "desktop entry": "application/x-desktop",
    "internetshortcut": "application/x-mswinurl",
    "internetshortcut.a": "application/x-mswinurl",
    "internetshortcut.w": "application/x-mswinurl",
    "kde desktop entry": "application/x-desktop",
    "scriptfile": "application/x-windows-script",
    "flatpak ref": "application/vnd.flatpak.ref",
    "flatpak repo": "application/vnd.flatpak.repo",
}
"""The types of INI files by the name of their first group, in lower case. No further check is
needed."""

_BEFORE_SHORTCUT: Final = {"default", "{000214a0-0000-0000-c000-000000000046}"}
"""Groups that Windows may write before the group of an Internet shortcut, in lower case."""

# These begin with the spaces of one line. With `\s*`, a file of line breaks would take 40 s.
_INTERNET_SHORTCUT: Final = re.compile(r"^[^\S\n]*+\[InternetShortcut\]", re.I | re.M)
_SHELL: Final = re.compile(r"^[^\S\n]*+command\s*=\s*\S", re.I | re.M)
_THEME: Final = re.compile(
    r"^[^\S\n]*+\[(?:VisualStyles|MasterThemeSelector|Control Panel\\)", re.I | re.M
)
_REGISTRY: Final = re.compile(r"\s*+(?:Windows Registry Editor Version \d|REGEDIT4?\s*$)", re.M)
_BATCH: Final = re.compile(r"\s*+(?:(?:@?rem\b|::)[^\n]*+\n\s*+)*+@\s*echo\s+off\b", re.I)

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
"""The types of XML files by their root element, in lower case and without prefix."""

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
    """Return the type of a file that a desktop runs, by its `head`; None for all other files.

    Only types that libmagic does not know are returned; libmagic identifies programs. Never raises
    for any bytes.
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
    """Decode a text by its byte order mark, else as Latin-1; None for binary data."""
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
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
    if group in _BEFORE_SHORTCUT and _INTERNET_SHORTCUT.search(text):
        return "application/x-mswinurl"
    return _GROUPS.get(group)


def _is_application_reference(text: str) -> bool:
    # ClickOnce (.appref-ms): the URL of the deployment, then "#" and its identity.
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
