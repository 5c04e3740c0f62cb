"""`temp_url`: which addresses name an object that may be taken, and which one."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.temp_urls import is_an_original, locate
from shared.settings import Settings
from tests.service import make_settings

REQUIRED = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://127.0.0.1/attachments",
    "ATTACHMENTS_BROKER_URL": "redis://127.0.0.1",
    "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
    "ATTACHMENTS_S3_BUCKET": "our-bucket",
    "ATTACHMENTS_S3_REGION": "eu-west-1",
    "ATTACHMENTS_TEMP_URL_BUCKETS": "shared-uploads, dotted.bucket",
}
AWS: Mapping[str, str] = {}
OWN = {"ATTACHMENTS_S3_ENDPOINT_URL": "http://store.example:8333"}
BEHIND = {**OWN, "ATTACHMENTS_S3_PUBLIC_URL": "https://uploads.example/drop"}


def settings(changes: Mapping[str, str]) -> Settings:
    """Make settings of a service with that store."""
    return make_settings({**REQUIRED, **changes})


@pytest.mark.parametrize(
    ("store", "url", "place"),
    [
        pytest.param(
            AWS,
            "https://s3.amazonaws.com/our-bucket/uploads/1418301662608/dummyfile.pdf",
            ("our-bucket", "uploads/1418301662608/dummyfile.pdf"),
            id="the contract's sample",
        ),
        pytest.param(
            AWS,
            "https://s3.eu-west-1.amazonaws.com/our-bucket/a/b",
            ("our-bucket", "a/b"),
            id="path-style with a region",
        ),
        pytest.param(
            AWS,
            "https://s3-eu-west-1.amazonaws.com/our-bucket/a/b",
            ("our-bucket", "a/b"),
            id="path-style with a dashed region",
        ),
        pytest.param(
            AWS,
            "https://s3.dualstack.eu-west-1.amazonaws.com/our-bucket/a",
            ("our-bucket", "a"),
            id="dual-stack",
        ),
        pytest.param(
            AWS, "https://our-bucket.s3.amazonaws.com/a/b", ("our-bucket", "a/b"), id="virtual host"
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3.eu-west-1.amazonaws.com/a/b",
            ("our-bucket", "a/b"),
            id="virtual host with a region",
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3-eu-west-1.amazonaws.com/a/b",
            ("our-bucket", "a/b"),
            id="virtual host with a dashed region",
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3.eu-west-1.amazonaws.com/uploads%2F1%2Fa%20b.pdf",
            ("our-bucket", "uploads/1/a b.pdf"),
            id="%2F as S3 writes it in Location",
        ),
        pytest.param(
            AWS,
            "https://s3.amazonaws.com/our-bucket/uploads%2F1.pdf",
            ("our-bucket", "uploads/1.pdf"),
            id="%2F path-style",
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3.amazonaws.com/a%252Fb",
            ("our-bucket", "a%2Fb"),
            id="decoded once only",
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3.amazonaws.com/a+b",
            ("our-bucket", "a+b"),
            id="a plus is a plus",
        ),
        pytest.param(
            AWS,
            "https://our-bucket.s3.amazonaws.com/a?versionId=1",
            ("our-bucket", "a"),
            id="a query is ignored",
        ),
        pytest.param(
            AWS,
            "HTTPS://OUR-BUCKET.S3.EU-WEST-1.AMAZONAWS.COM/A",
            ("our-bucket", "A"),
            id="scheme and host in capitals, the key as it is",
        ),
        pytest.param(
            AWS, "https://s3.amazonaws.com:443/our-bucket/a", ("our-bucket", "a"), id="port 443"
        ),
        pytest.param(
            AWS,
            "https://shared-uploads.s3.amazonaws.com/a",
            ("shared-uploads", "a"),
            id="an allowed bucket",
        ),
        pytest.param(
            AWS,
            "https://dotted.bucket.s3.amazonaws.com/a",
            ("dotted.bucket", "a"),
            id="an allowed bucket with a dot",
        ),
        pytest.param(
            OWN,
            "http://store.example:8333/our-bucket/a/b",
            ("our-bucket", "a/b"),
            id="own store, path-style",
        ),
        pytest.param(
            OWN,
            "https://our-bucket.s3.amazonaws.com/a",
            ("our-bucket", "a"),
            id="AWS beside an own store, at which the bucket is looked up",
        ),
        pytest.param(
            OWN,
            "http://store.example:8333/our-bucket/a%2Fb",
            ("our-bucket", "a/b"),
            id="own store, %2F",
        ),
        pytest.param(
            OWN,
            "http://STORE.example:8333/our-bucket/a",
            ("our-bucket", "a"),
            id="own store in capitals",
        ),
        pytest.param(
            OWN,
            "http://store.example:8333/shared-uploads/a",
            ("shared-uploads", "a"),
            id="own store, an allowed bucket",
        ),
        pytest.param(
            BEHIND,
            "https://uploads.example/drop/a/b",
            ("our-bucket", "a/b"),
            id="public address of the bucket",
        ),
        pytest.param(
            BEHIND,
            "http://store.example:8333/our-bucket/a",
            ("our-bucket", "a"),
            id="inner address beside a public one",
        ),
    ],
)
def test_an_allowed_address_names_its_bucket_and_key(
    store: Mapping[str, str], url: str, place: tuple[str, str]
) -> None:
    assert locate(url, settings(store)) == place


@pytest.mark.parametrize(
    ("store", "url"),
    [
        pytest.param(AWS, "https://other-bucket.s3.amazonaws.com/a", id="another bucket"),
        pytest.param(AWS, "https://s3.amazonaws.com/other-bucket/a", id="another, path-style"),
        pytest.param(AWS, "https://s3.amazonaws.com/Our-Bucket/a", id="a bucket in capitals"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/", id="no key"),
        pytest.param(AWS, "https://s3.amazonaws.com/our-bucket", id="no key, path-style"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com.evil.example/a", id="a longer host"),
        pytest.param(AWS, "https://our-bucket.s3.evil.amazonaws.com.example/a", id="other domain"),
        pytest.param(AWS, "https://evil.example/our-bucket/a", id="another host"),
        pytest.param(AWS, "https://our-bucket.s3xamazonaws.com/a", id="a dot is a dot"),
        pytest.param(AWS, "https://our-bucket.ec2.amazonaws.com/a", id="another service"),
        pytest.param(AWS, "https://user@our-bucket.s3.amazonaws.com/a", id="a user"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com@evil.example/a", id="host as user"),
        pytest.param(AWS, "https://u:p@s3.amazonaws.com/our-bucket/a", id="user and password"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a#b", id="a fragment"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com:8443/a", id="another port"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com:99999/a", id="no port at all"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com:x/a", id="a port of letters"),
        pytest.param(AWS, "ftp://our-bucket.s3.amazonaws.com/a", id="another scheme"),
        pytest.param(AWS, "s3://our-bucket/a", id="the scheme of S3's tools"),
        pytest.param(AWS, "file:///our-bucket/a", id="a file"),
        pytest.param(AWS, "//our-bucket.s3.amazonaws.com/a", id="no scheme"),
        pytest.param(AWS, "our-bucket/a", id="no host"),
        pytest.param(AWS, "", id="nothing"),
        pytest.param(AWS, "https://", id="a scheme alone"),
        pytest.param(AWS, "http://169.254.169.254/our-bucket/a", id="the metadata of a cloud"),
        pytest.param(AWS, "http://[::ffff:10.0.0.1]/our-bucket/a", id="IPv6"),
        pytest.param(AWS, "http://[::1/our-bucket/a", id="half of an IPv6 address"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a%00b", id="NUL"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a%0d%0ab", id="CR LF"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/%ff", id="no UTF-8"),
        # SeaweedFS serves these as what is left once they are cleaned up
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com//a", id="a slash in front"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a//b", id="an empty segment"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a/%2Fb", id="an empty one as %2F"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a/", id="a slash at the end"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a/../b", id="two dots"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a/%2e%2e/b", id="two dots as %2e"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/./a", id="one dot"),
        pytest.param(OWN, "http://store.example/our-bucket/a", id="own store, no port"),
        pytest.param(OWN, "http://store.example:8334/our-bucket/a", id="own store, another port"),
        pytest.param(OWN, "https://store.example:8333/our-bucket/a", id="own store, other scheme"),
        pytest.param(OWN, "http://store.example:8333/other-bucket/a", id="own store, other bucket"),
        pytest.param(OWN, "http://our-bucket.store.example:8333/a", id="own store, virtual host"),
        pytest.param(OWN, "http://store.example:8333/", id="own store, nothing"),
        pytest.param(OWN, "http://store.example:8333/our-bucket/", id="own store, no key"),
        pytest.param(BEHIND, "https://uploads.example/other/a", id="beside the public address"),
        pytest.param(BEHIND, "https://uploads.example/dropped", id="a prefix of a segment"),
    ],
)
def test_any_other_address_names_nothing(store: Mapping[str, str], url: str) -> None:
    assert locate(url, settings(store)) is None


def test_an_ipv6_endpoint_can_be_the_own_store() -> None:
    own = settings({"ATTACHMENTS_S3_ENDPOINT_URL": "http://[::1]:8333"})

    assert locate("http://[::1]:8333/our-bucket/a", own) == ("our-bucket", "a")


@given(url=st.text(max_size=200) | st.from_regex(r"https?://[^/]{0,30}/.{0,60}"))
def test_no_text_is_taken_for_an_address_of_another_bucket(url: str) -> None:
    place = locate(url, AWS_SETTINGS)

    assert place is None or place[0] in ("our-bucket", "shared-uploads", "dotted.bucket")


AWS_SETTINGS = settings(AWS)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        pytest.param("attachments/files/000/000/001/original/a.png", True, id="an original"),
        pytest.param("attachments/files/000/000/001/thumb/a.png", True, id="a thumbnail"),
        pytest.param("attachments/files/whatever", True, id="anything beside them"),
        pytest.param("uploads/a.png", False, id="an upload elsewhere"),
        pytest.param("attachments/a.png", False, id="a folder above"),
    ],
)
def test_what_lies_where_attachments_lie_is_told_apart(key: str, answer: bool) -> None:
    assert is_an_original(key) is answer
