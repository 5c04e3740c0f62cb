"""Content types: how a declared one must look, and which ones are reserved."""

import re

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(?:\s*;\s*{_WORD}=(?:{_WORD}|\"[^\"\\\x00-\x1f\x7f]*\"))*", re.ASCII
)

RESERVED = frozenset(
    {
        # executables and libraries
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
        # installers
        "application/x-msi",
        "application/x-ms-installer",
        "application/x-ms-shortcut",
        "application/x-debian-package",
        "application/vnd.debian.binary-package",
        "application/x-rpm",
        "application/x-redhat-package-manager",
        "application/vnd.android.package-archive",
        "application/x-apple-diskimage",
        "application/java-archive",
        "application/x-java-archive",
        "application/x-java-applet",
        "application/x-java-jnlp-file",
        # scripts that a desktop would run
        "application/x-bat",
        "application/bat",
        "application/x-sh",
        "application/x-csh",
        "application/x-shellscript",
        "text/x-shellscript",
        "application/x-powershell",
        "text/x-msdos-batch",
        "application/hta",
        "application/x-vbs",
        "text/vbscript",
        "application/x-ms-application",
        "application/x-desktop",
    }
)
"""What a desktop would run on a double click: never taken, declared or measured (contract.md)."""


def essence(content_type: str) -> str:
    """Give the type without parameters, in lower case: `Text/HTML; a=b` → `text/html`."""
    return content_type.partition(";")[0].strip().lower()


def is_well_formed(content_type: str) -> bool:
    """Whether it is `type/subtype` with parameters by the grammar of RFC 9110, section 8.3.1."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


def is_reserved(content_type: str) -> bool:
    """Whether files of this type are never accepted, in whatever case and with any parameters."""
    return essence(content_type) in RESERVED


INLINE = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "application/pdf"}
)
"""What a browser may show in its window: raster images and PDF, nothing that can hold a script."""
