"""Addresses as they may be stored and shown: without what opens something."""

import re

_QUERY = re.compile(r"[?#]")
# A user alone opens nothing, and tells why the address was refused.
_PASSWORD = re.compile(r"\A((?:[^/\\]*[/\\]{2,})?)[^/\\:]*:[^/\\]*@")
# A stamp, as the service writes it into addresses of files; it opens nothing.
_STAMP = re.compile(r"\?[0-9]{1,11}")
# A signed query may also have been encoded into the path, or begun with & for want of a ?.
_PARAMETER = re.compile(
    r"(?:[;&]|%(?:25)*(?:3f|26|3b|23))"
    r"(?:x-amz-[a-z0-9-]+|x-goog-[a-z0-9-]+|awsaccesskeyid|googleaccessid|signature|expires"
    r"|key-pair-id|policy|security-token|sig|se|sp|token|access_token)(?:=|%(?:25)*3d)",
    re.IGNORECASE,
)


def without_credentials(url: str) -> str:
    """Write an address without password, query and fragment; what is no address stays text.

    A query holds what opens an object (`X-Amz-Signature`, `AWSAccessKeyId`, `Policy`, `sig`,
    `token`) under names that no list ends, so all of it goes, `versionId` too: the version that it
    names is not what is copied. Only a stamp of digits stays. May be repeated.
    """
    found = _QUERY.search(url)
    end = len(url) if found is None else found.start()
    kept, query = url[:end], url[end:]
    kept = _PASSWORD.sub(r"\1", kept)
    parameter = _PARAMETER.search(kept)
    if parameter is not None:
        return kept[: parameter.start()]
    return f"{kept}{query}" if _STAMP.fullmatch(query) else kept
