"""Remove passwords and tokens from web addresses before the addresses are stored or shown."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from unicodedata import normalize

_QUERY = re.compile(r"[?#]")
_USER = re.compile(r"\A((?:[^/\\]*[/\\]{2,})?)([^/\\]*)@")
# A host name in the place of the user is kept: it is no secret, and it shows why the address was
# refused. A token does not look like a host name: it has no dots, or it has capitals (as a JWT
# has), or it does not end in a word of letters.
_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}")
# The service's own file addresses end with `?` and a stamp of digits. The stamp is no secret.
_STAMP = re.compile(r"\?[0-9]{1,11}")
_PARAMETER = re.compile(r"[^a-z0-9_-]?(?<![a-z0-9_-])([a-z0-9_-]++)\s*+=")
# Names of query parameters that hold credentials, in addresses signed by S3, CloudFront, Google,
# Azure, Alibaba, Tencent and others.
_CREDENTIAL = re.compile(
    r"x-[a-z0-9]+-|signature|credential|security-?token|access-?_?key|accessid|key-pair-id"
    r"|passw|passphrase|secret|api-?_?key|(?<![a-z0-9])(?:token|expires|policy|sig|se|sp|pwd|auth"
    r"|authorization|jwt)(?![a-z0-9])"
)
_ESCAPES = re.compile(r"(?:%(?:25)*[0-9a-f]{2})+", re.IGNORECASE)
_ESCAPE = re.compile(r"%(?:25)*([0-9a-f]{2})", re.IGNORECASE)
_MAX_FOLDED: Final = 3
"""Maximum number of characters that one character may become when it is folded (NFKC, lower case).
A character that would become more is not folded: 4,096 characters could become 74,000. The names of
credentials cannot be written with these characters."""

_ROUNDS: Final = 8
"""An address is decoded at most this many times. A normal address is decoded at most twice. An
address that has escapes even after _ROUNDS times is cut at the first escape."""


def without_credentials(url: str) -> str:
    """Remove password, query and fragment from an address. Other texts are returned unchanged.

    A query may contain credentials (`X-Amz-Signature`, `AWSAccessKeyId`, `Policy`, `sig`, `token`)
    under names that no list can cover, so all of the query is removed. `versionId` is removed too,
    because a copy never uses the version in the address. A query that consists of digits is a
    stamp, and is kept. If a path contains a credential's name and a `=`, the path is cut before
    that name, even if name and `=` are encoded. A user name is kept only if it looks like a host
    name. May be repeated.
    """
    found = _QUERY.search(url)
    end = len(url) if found is None else found.start()
    kept, query = url[:end], url[end:]
    kept = _without_user(kept)
    plain, offsets = _decoded(kept)
    for parameter in _PARAMETER.finditer(plain):
        if _CREDENTIAL.search(parameter[1]):
            return kept[: offsets[parameter.start()]]
    if offsets[-1] < len(kept):
        return kept[: offsets[-1]]
    return f"{kept}{query}" if _STAMP.fullmatch(query) else kept


def _without_user(url: str) -> str:
    """Remove user and password from an address, even if they or the @ are percent-encoded."""
    for decode in (False, True):
        while True:
            plain, offsets = _decoded(url) if decode else (url, range(len(url) + 1))
            user = _USER.match(plain)
            if user is None or _HOST.fullmatch(user[2]):
                break
            url = url[: offsets[user.start(2)]] + url[offsets[user.end()] :]
    return url


def _decoded(url: str) -> tuple[str, Sequence[int]]:
    """Decode percent escapes and fold characters until nothing changes, at most _ROUNDS times.

    Returns the decoded text, and the position in `url` of each of its characters. The list of
    positions has one more element: the end of the decoded part of `url`.
    """
    if "%" not in url and url.isascii():  # the usual case: nothing to decode
        return url.lower(), range(len(url) + 1)
    plain, offsets = url, list(range(len(url) + 1))
    for _ in range(_ROUNDS):
        decoded, at = decode_once(plain)
        offsets = [offsets[index] for index in at]
        if decoded == plain:
            return plain, offsets
        plain = decoded
    left = _ESCAPES.search(plain)
    if left is None:
        return plain, offsets
    return plain[: left.start()], offsets[: left.start() + 1]


def decode_once(text: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    offsets: list[int] = []
    end = 0
    for run in _ESCAPES.finditer(text):
        _fold(text, end, run.start(), letters, offsets)
        escapes = list(_ESCAPE.finditer(run[0]))
        octets = bytes(int(escape[1], 16) for escape in escapes)
        number = 0
        for letter in octets.decode("utf-8", "surrogateescape"):
            folded = _folded(letter)
            letters.append(folded)
            offsets += [run.start() + escapes[number].start()] * len(folded)
            number += len(letter.encode("utf-8", "surrogateescape"))
        end = run.end()
    _fold(text, end, len(text), letters, offsets)
    return "".join(letters), [*offsets, len(text)]


def _fold(text: str, start: int, end: int, letters: list[str], offsets: list[int]) -> None:
    """Append the folded characters of `text[start:end]`, a part without escapes."""
    part = text[start:end]
    if part.isascii():
        letters.append(part.lower())
        offsets += range(start, end)
        return
    for offset, letter in enumerate(part, start):
        folded = _folded(letter)
        letters.append(folded)
        offsets += [offset] * len(folded)


@lru_cache(maxsize=4096)
def _folded(letter: str) -> str:
    folded = normalize("NFKC", letter).lower()
    return folded if len(folded) <= _MAX_FOLDED else letter
