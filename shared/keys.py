"""Build the keys of an attachment's objects in the bucket, and parse such keys."""

import re
import unicodedata

PREFIX = "attachments/files/"
MAX_FILE_NAME_BYTES = 180
MAX_ID = 2**63 - 1
ORIGINAL = "original"
THUMB = "thumb"
"""The style in which every thumbnail is made. The setting ATTACHMENTS_STYLES adds others."""

STYLE_NAME = r"[a-z][a-z0-9_-]{0,31}"
"""A pattern of the names of styles. Such a name is read in the same way by every store and URL
decoder. It cannot be a group of an id, because these have only digits. The length keeps a key far
below S3's 1,024 bytes."""

THUMBNAIL_EXTENSIONS = ("png", "jpg")
"""The extensions of thumbnails whose format differs from the original's."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_KEY = re.compile(
    rf"attachments/files/([0-9]{{3}}(?:/[0-9]{{3}}){{2,6}})/({STYLE_NAME})/"
    r"([A-Za-z0-9_][A-Za-z0-9._-]*)",
    re.ASCII,
)


def partition(attachment_id: int) -> str:
    """Return an id as at least nine digits in groups of three: 4 → `000/000/004`."""
    if attachment_id < 10**9:  # the usual case, in a fifth of the time
        digits = f"{attachment_id:09}"
        return f"{digits[:3]}/{digits[3:6]}/{digits[6:]}"
    digits = str(attachment_id)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    return "/".join(digits[start : start + 3] for start in range(0, len(digits), 3))


def safe_file_name(name: str) -> str:
    """Return a file name that every store, URL decoder and shell reads in the same way.

    The result has only characters of `[A-Za-z0-9._-]`, starts with a letter, a digit or `_`, and
    has at most 180 bytes. An extension of up to 20 characters is kept. Accents are dropped, and
    runs of other characters become `_`.
    """
    plain = name
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name)
        plain = "".join(each for each in decomposed if not unicodedata.combining(each))
    plain = _UNSAFE.sub("_", plain).lstrip(".-")
    stem, dot, extension = plain.rpartition(".")
    if not dot:
        stem, extension = plain, ""
    elif len(extension) > 20:
        stem, dot, extension = plain, "", ""
    if not stem.strip("_."):
        stem = "file"
    return stem[: MAX_FILE_NAME_BYTES - len(dot) - len(extension)] + dot + extension


def original_key(attachment_id: int, name: str) -> str:
    """Return the key of an attachment's original, by the attachment's id and name."""
    return f"{PREFIX}{partition(attachment_id)}/original/{safe_file_name(name)}"


def thumbnail_key(original: str, extension: str | None = None) -> str:
    """Return the key of an original's thumbnail. `extension` replaces that of the original."""
    return style_key(original, THUMB, extension)


def style_key(original: str, style: str, extension: str | None = None) -> str:
    """Return the key of an original's thumbnail in one style, as `thumbnail_key` does."""
    folder, file_name = original.rsplit("/original/", 1)
    if extension is not None:
        stem, dot, _ = file_name.rpartition(".")
        file_name = f"{stem if dot else file_name}.{extension}"
    return f"{folder}/{style}/{file_name}"


def style_keys(original: str, style: str) -> set[str]:
    """Return all keys at which an original's thumbnail in one style may be stored."""
    return {style_key(original, style, extension) for extension in (None, *THUMBNAIL_EXTENSIONS)}


def parse_key(key: str) -> tuple[int, str] | None:
    """Return the id and the style of a key of this service, or None.

    The style is `original`, `thumb`, or any other name that a style may have, configured or not.
    Only the exact spelling that `original_key` builds is accepted, because some stores read another
    spelling as another key.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    groups, style, _ = match.groups()
    attachment_id = int(groups.replace("/", ""))
    if attachment_id > MAX_ID or partition(attachment_id) != groups:
        return None
    return attachment_id, style
