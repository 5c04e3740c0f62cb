"""Reserved files, which are never accepted, because a double click on some desktop would run them.

A file is rejected if its bytes have one of `TYPES` (`worker.sniffing.identify`). Clients may not
declare these types either. A file with one of `EXTENSIONS` is rejected for its name alone, because
desktops look only at the name. Source code (`.js`, `.py`, `.sh`, `.ps1`) is not reserved, but
always served as a download. A test compares this table with deploy/docs/reserved-types.md.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from shared.content_types import essence, is_well_formed
from shared.keys import safe_file_name

TYPES: Final = frozenset(
    {
        # programs and libraries
        "application/x-msdownload",
        "application/x-msdos-program",
        "application/x-dosexec",
        "application/vnd.microsoft.portable-executable",
        "application/x-executable",
        "application/x-pie-executable",
        "application/x-sharedlib",
        "application/x-elf",
        "application/x-mach-binary",
        "application/x-ms-ne-executable",
        "application/x-com",
        "application/exe",
        "application/x-exe",
        "application/dos-exe",
        "application/x-winexe",
        "application/java-archive",
        "application/x-java-archive",
        "application/x-java-applet",
        "application/x-java-jnlp-file",
        "application/x-python-zipapp",
        "application/x-silverlight-app",
        # installers and packages
        "application/x-msi",
        "application/x-ms-installer",
        "application/vnd.ms-appx",
        "application/x-ms-appinstaller",
        "application/x-ms-application",
        "application/x-ms-xbap",
        "application/x-windows-gadget",
        "application/x-debian-package",
        "application/vnd.debian.binary-package",
        "application/x-rpm",
        "application/x-redhat-package-manager",
        "application/vnd.android.package-archive",
        "application/vnd.flatpak.ref",
        "application/vnd.flatpak.repo",
        "application/vnd.snap",
        "application/x-apple-diskimage",
        "application/vnd.apple.installer+xml",
        "application/x-xar",
        "application/x-apple-aspen-config",
        "application/x-chrome-extension",
        "application/x-xpinstall",
        # scripts and commands that a desktop can run
        "application/x-bat",
        "application/bat",
        "text/x-msdos-batch",
        "application/hta",
        "application/x-hta",
        "application/x-vbs",
        "text/vbscript",
        "application/x-vbscript-encoded",
        "application/x-jscript-encoded",
        "application/x-windows-script",
        "text/scriptlet",
        "application/x-apple-terminal-settings",
        # shortcuts, and settings that take effect when they are opened
        "application/x-ms-shortcut",
        "application/x-mswinurl",
        "application/x-ms-shell-command",
        "application/x-ms-settings-shortcut",
        "application/x-ms-library",
        "application/x-ms-theme",
        "application/x-ms-console",
        "text/x-ms-regedit",
        "application/x-desktop",
        "application/x-apple-location",
        "application/vnd.ms-htmlhelp",
        "application/winhlp",
    }
)

EXTENSIONS: Final = {
    kind: tuple(words.split())
    for kind, words in {
        "programs of Windows": "com cpl exe ocx pif scr wll xll",
        "scripts and commands of Windows": (
            "bat cmd hta jse msh1 msh1xml msh2 msh2xml mshxml psc1 psc2 sct shb shs "
            "vbe vbs vbscript ws wsb wsc wsf wsh"
        ),
        "shortcuts and settings of Windows": (
            "appcontent-ms appref-ms deskthemepack gadget grp ins isp library-ms lnk "
            "maf mam maq mcf msc osd pcd prf printerexport rdp reg scf search-ms "
            "searchconnector-ms settingcontent-ms theme themepack url webpnp website "
            "xnk"
        ),
        "installers of Windows": (
            "appinstaller application appx appxbundle diagcab diagcfg diagpkg msi "
            "msix msixbundle msp mst msu ppkg vsix vsto xbap"
        ),
        "documents that run as programs": (
            "accda accde accdr accdu ade adp chm hlp mda mde vsmacros"
        ),
        "macOS": (
            "action afploc app command configprofile dmg fileloc ftploc inetloc "
            "mobileconfig mpkg pkg safariextz terminal tool vncloc webloc workflow"
        ),
        "Linux": (
            "appimage deb desktop flatpak flatpakref flatpakrepo kdelnk rpm run snap udeb ymp"
        ),
        "Java, Android, browsers and others": (
            "aab air apk apks crx jar jnlp oxt pyc pyo pyz pyzw xap xapk xpi"
        ),
    }.items()
}
"""Extensions in lower case, grouped by the system that runs such files."""

ALL_EXTENSIONS: Final = frozenset().union(*EXTENSIONS.values())

_WORD: Final = re.compile(r"[+-](?:\.[a-z0-9-]{1,20}|[^.].*/.+)")
_UNSEEN: Final = ("Cc", "Cf", "Mn", "Zl", "Zp")
_ENDS: Final = re.compile(r"(?<![\s./])[\s./]++\Z")  # each run of characters is read once
_PLAIN: Final = re.compile(r"[\w ()-][\w .()-]*\.([A-Za-z0-9]{1,20})", re.ASCII)
"""A usual name: every desktop and `safe_file_name` find the same extension in it."""
_CLASS_ID: Final = re.compile(r"\{[0-9a-f-]{36}\}")
"""A class id in the place of an extension. Windows opens the file with the handler of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The content types and the extensions that one deployment does not accept."""

    types: frozenset[str] = TYPES
    extensions: frozenset[str] = ALL_EXTENSIONS

    @classmethod
    def changed_by(cls, words: Iterable[str]) -> Self:
        """Return the built-in table, changed by words: `+.iso`, `-.chm`, `-text/vbscript`.

        `+` adds, `-` removes. For any other word, raises ValueError; its text gives the rule.
        """
        added: set[str] = set()
        removed: set[str] = set()
        for word in words:
            text = word.strip().lower()
            if not _WORD.fullmatch(text) or ("/" in text and not is_well_formed(text[1:])):
                raise ValueError(
                    "must be words such as +.iso, -.chm, +application/x-foo: + reserves,"
                    " - allows, an extension begins with a dot"
                )
            (added if text[0] == "+" else removed).add(text[1:])
        types, extensions = set(TYPES), {f".{each}" for each in ALL_EXTENSIONS}
        types |= {each for each in added if "/" in each}
        extensions |= {each for each in added if "/" not in each}
        return cls(
            types=frozenset(types - removed),
            extensions=frozenset(each.removeprefix(".") for each in extensions - removed),
        )

    def has_type(self, content_type: str) -> bool:
        """Return whether a content type is reserved. Its case and parameters are ignored."""
        return essence(content_type) in self.types

    def has_name(self, name: str) -> bool:
        """Return whether a desktop would run a file with this name.

        The name is read as desktops read it: compatibility forms and case are folded, and invisible
        characters are removed. As in Windows, trailing dots, spaces and slashes are removed, and
        everything from a colon on (an alternate data stream). The name in the object's key may be
        shorter. It is checked too, because some clients save the file under it.
        """
        plain = _PLAIN.fullmatch(name)
        if plain is not None:  # most names; this check takes a quarter of the time
            return plain[1].lower() in self.extensions
        return any(
            extension in self.extensions or _CLASS_ID.fullmatch(extension)
            for spelling in {name, safe_file_name(name)}
            for extension in _extensions(spelling)
        )


def _extensions(name: str) -> Iterable[str]:
    if name.isascii() and name.isprintable():  # the usual case: only the case must be folded
        visible = name.lower()
    else:
        folded = unicodedata.normalize("NFKD", name).casefold()
        visible = "".join(each for each in folded if unicodedata.category(each) not in _UNSEEN)
    last = _ENDS.sub("", visible.replace("\\", "/")).rpartition("/")[2]
    for part in {last, last.partition(":")[0]}:
        _, dot, extension = _ENDS.sub("", part).rpartition(".")
        if dot:
            yield extension.strip()
