"""Build the keys of an attachment's objects in the bucket, and parse such keys."""

import re
import unicodedata

PREFIX = "attachments/files/"
MAX_FILE_NAME_BYTES = 180
MAX_ID = 2**63 - 1
THUMBNAIL_EXTENSIONS = ("png", "jpg")
"""The extensions of thumbnails whose format differs from the original's."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_KEY = re.compile(
    r"attachments/files/([0-9]{3}(?:/[0-9]{3}){2,6})/(original|thumb)/([A-Za-z0-9_][A-Za-z0-9._-]*)",
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
    folder, file_name = original.rsplit("/original/", 1)
    if extension is not None:
        stem, dot, _ = file_name.rpartition(".")
        file_name = f"{stem if dot else file_name}.{extension}"
    return f"{folder}/thumb/{file_name}"


def thumbnail_keys(original: str) -> set[str]:
    """Return all keys at which an original's thumbnail may be stored."""
    return {thumbnail_key(original, extension) for extension in (None, *THUMBNAIL_EXTENSIONS)}


def parse_key(key: str) -> tuple[int, str] | None:
    """Return the id and the style (`original` or `thumb`) of a key of this service, or None.

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
