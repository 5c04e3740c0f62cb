r"""Fences: the buckets and prefixes from which an organization's `temp_url` may copy.

An entry of `ATTACHMENTS_TEMP_URL_BUCKETS` is a bucket, or `bucket/prefix/`. In a prefix,
`{organization_id}` is replaced by the organization's id, so each organization can have a folder.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from shared.spellings import may_be_copied

ORGANIZATION = "{organization_id}"
WHOLE_BUCKET = ("",)

# S3's rules ("General purpose bucket naming rules"). Names that end as in ALIASES are aliases, not
# buckets.
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ALIASES = ("-s3alias", "--ol-s3", ".mrap")
_PATTERN = re.compile(r"[%*?\\{}]")

Fences = Mapping[str, Sequence[str]]
"""Bucket → prefixes. A bucket that may be copied as a whole has only the empty prefix."""


def is_bucket_name(name: str) -> bool:
    """Return whether S3 allows this name for a bucket."""
    if not BUCKET.fullmatch(name):
        return False
    try:
        IPv4Address(name)
    except ValueError:
        return True
    return False


def parse_fences(words: Sequence[str], *, own_bucket: str | None) -> Fences:
    """Parse the entries of the setting.

    Raises ValueError. Its text names the broken rule, but not the entry.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        bucket, slash, prefix = word.partition("/")
        if not is_bucket_name(bucket) or bucket.endswith(ALIASES):
            raise ValueError(
                "each entry must begin with the name of a bucket: 3 to 63 lower-case letters,"
                " digits, dots and hyphens; no alias of an access point"
            )
        if slash:
            _check_prefix(prefix, ours=bucket == own_bucket)
        found.setdefault(bucket, []).append(prefix)
    for given in found.values():
        if "" in given and any(given):
            raise ValueError("must not name a bucket both with and without a prefix")
    return {bucket: tuple(given) for bucket, given in found.items()}


def _check_prefix(prefix: str, *, ours: bool) -> None:
    if not prefix:
        raise ValueError("an entry for a whole bucket must not end with /")
    if not prefix.endswith("/"):
        raise ValueError(
            "a prefix must end with /; else the one of organization 1 would also begin"
            " that of organization 12"
        )
    sample = prefix.replace(ORGANIZATION, "1")
    if _PATTERN.search(sample):
        raise ValueError(
            f"a prefix must have none of % * ? \\ and no braces other than {ORGANIZATION}"
        )
    # Test the prefix by a sample key: if this key may not be copied, no key with the prefix may.
    if not may_be_copied(f"{sample}a", ours=False):
        raise ValueError(
            "a prefix must have no empty segment, no . or .. and no control character, must not"
            " begin with a dot, and have no folder that ends with .versions"
        )
    if not may_be_copied(f"{sample}a", ours=ours):
        raise ValueError(
            "a prefix in the service's own bucket must not lie below attachments/files/, where"
            " attachments keep their objects"
        )


def admit(
    fences: Fences, location: tuple[str, str], *, own_bucket: str, organization_id: int
) -> bool:
    """Return whether an organization may copy an object; `location` is its bucket and key.

    The answer depends only on the text, so it does not reveal whether the object exists.
    """
    bucket, key = location
    return may_be_copied(
        key, ours=bucket == own_bucket, fences=prefixes(fences, bucket, organization_id)
    )


def prefixes(fences: Fences, bucket: str, organization_id: int) -> Sequence[str]:
    """Return the prefixes of a bucket from which an organization may copy; may be empty."""
    return [prefix.replace(ORGANIZATION, str(organization_id)) for prefix in fences.get(bucket, ())]
