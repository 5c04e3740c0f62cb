"""`temp_url`: which addresses name an object that may be taken, and which one."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.temp_urls.locations import locate, may_take, same_address
from shared.settings import Settings
from tests.support.service import make_settings

REQUIRED = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://127.0.0.1/attachments",
    "ATTACHMENTS_BROKER_URL": "redis://127.0.0.1",
    "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
    "ATTACHMENTS_S3_BUCKET": "our-bucket",
    "ATTACHMENTS_S3_REGION": "eu-west-1",
    "ATTACHMENTS_TEMP_URL_BUCKETS": "shared-uploads, dotted.bucket,"
    "fenced/in/{organization_id}/, fenced/for-all/",
}
AWS: Mapping[str, str] = {}
OWN = {"ATTACHMENTS_S3_ENDPOINT_URL": "http://store.example:8333"}
BEHIND = {**OWN, "ATTACHMENTS_S3_PUBLIC_URL": "https://uploads.example/drop"}


def settings(changes: Mapping[str, str]) -> Settings:
    """Make settings of a service with that store."""
    return make_settings({**REQUIRED, **changes})


def taken(url: str, of: Settings, organization_id: int = 1) -> tuple[str, str] | None:
    """Tell the bucket and key that an organization may take from an address."""
    place = locate(url, of)
    if place is None or not may_take(place, of, organization_id=organization_id):
        return None
    return place


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
        *(
            pytest.param(AWS, f"https://our-bucket.{host}/a", ("our-bucket", "a"), id=host)
            for host in (
                "s3-fips.us-east-1.amazonaws.com",
                "s3-fips.dualstack.us-east-1.amazonaws.com",
                "s3-accelerate.amazonaws.com",
                "s3-accelerate.dualstack.amazonaws.com",
                "s3.cn-north-1.amazonaws.com.cn",
                "s3.eusc-de-east-1.amazonaws.eu",
            )
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
            AWS, "https://s3.amazonaws.com./our-bucket/a", ("our-bucket", "a"), id="host with a dot"
        ),
        pytest.param(
            BEHIND,
            "https://uploads.example:443/drop/a",
            ("our-bucket", "a"),
            id="public address with the port that it has anyway",
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
    assert taken(url, settings(store)) == place


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
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a%5Cb", id="a backslash"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a\\b", id="a raw backslash"),
        pytest.param(AWS, "https:\\\\our-bucket.s3.amazonaws.com/a", id="backslashes as slashes"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a\tb", id="a tab"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/a%C2%85b", id="a C1 control"),
        pytest.param(AWS, "https://our-bucket.s3.amazonaws.com/%C0%AFa", id="overlong"),
        pytest.param(AWS, "https://shared-uploads.s3.amazonaws.com/a%5Cb", id="elsewhere too"),
        pytest.param(AWS, "https://shared-uploads.s3.amazonaws.com/.uploads/1/a", id="internals"),
        pytest.param(AWS, "https://fenced.s3.amazonaws.com/a", id="outside a fence"),
        pytest.param(OWN, "http://store.example:8333/buckets/our-bucket/a", id="as a folder"),
        pytest.param(OWN, "http://store.example:8333/OUR-BUCKET/a", id="own store, capitals"),
        pytest.param(OWN, "http://user:secret@store.example:8333/our-bucket/a", id="own, a user"),
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
    assert taken(url, settings(store)) is None


def test_an_ipv6_endpoint_can_be_the_own_store() -> None:
    own = settings({"ATTACHMENTS_S3_ENDPOINT_URL": "http://[::1]:8333"})

    assert taken("http://[::1]:8333/our-bucket/a", own) == ("our-bucket", "a")


@given(url=st.text(max_size=200) | st.from_regex(r"https?://[^/]{0,30}/.{0,60}"))
def test_no_text_is_taken_for_an_address_of_another_bucket(url: str) -> None:
    place = taken(url, AWS_SETTINGS)

    assert place is None or place[0] in AWS_SETTINGS.fences


AWS_SETTINGS = settings(AWS)


FENCED = settings({**OWN, "ATTACHMENTS_TEMP_URL_BUCKETS": "fenced/in/{organization_id}/"})


@pytest.mark.parametrize(
    ("key", "organization_id", "admitted"),
    [
        pytest.param("in/1/a.pdf", 1, True, id="the caller's own"),
        pytest.param("in/1/deep/er/a.pdf", 1, True, id="a folder of the caller's own"),
        pytest.param("in/12/a.pdf", 12, True, id="two digits"),
        pytest.param("in/12/a.pdf", 1, False, id="an id that begins alike"),
        pytest.param("in/1/a.pdf", 12, False, id="an id that is the beginning"),
        pytest.param("in/01/a.pdf", 1, False, id="a zero in front"),
        pytest.param("in/1", 1, False, id="the folder itself"),
        pytest.param("in/a.pdf", 1, False, id="the folder above"),
        pytest.param("a.pdf", 1, False, id="outside"),
        pytest.param("IN/1/a.pdf", 1, False, id="another case"),
        pytest.param("x/in/1/a.pdf", 1, False, id="the prefix further on"),
        pytest.param("in/1/../2/a.pdf", 1, False, id="two dots"),
        pytest.param("in/1/%252e%252e/2/a.pdf", 1, False, id="two dots, encoded twice"),
        pytest.param("in/1/..%5C2/a.pdf", 1, False, id="two dots and a backslash"),
        pytest.param("in/1/%EF%BC%8E%EF%BC%8E/2/a.pdf", 1, False, id="two full-width dots"),
        pytest.param("in%5C1%5Ca.pdf", 1, False, id="backslashes"),
        pytest.param("in/%EF%BC%91/a.pdf", 1, False, id="a full-width digit"),
        pytest.param("in/{organization_id}/a.pdf", 1, False, id="the placeholder itself"),
    ],
)
def test_a_fence_admits_what_lies_behind_it_and_nothing_else(
    key: str, organization_id: int, admitted: bool
) -> None:
    place = taken(f"http://store.example:8333/fenced/{key}", FENCED, organization_id)

    assert (place is not None) is admitted


def test_several_fences_of_a_bucket_add_up() -> None:
    base = "https://s3.amazonaws.com/fenced"

    assert taken(f"{base}/in/7/a", AWS_SETTINGS, 7) == ("fenced", "in/7/a")
    assert taken(f"{base}/for-all/a", AWS_SETTINGS, 7) == ("fenced", "for-all/a")
    assert taken(f"{base}/in/8/a", AWS_SETTINGS, 7) is None


def test_a_fence_in_the_own_bucket_bounds_it_and_opens_no_originals() -> None:
    own = settings({"ATTACHMENTS_TEMP_URL_BUCKETS": "our-bucket/attachments/,our-bucket/up/"})
    base = "https://our-bucket.s3.amazonaws.com"

    assert taken(f"{base}/up/a", own) == ("our-bucket", "up/a")
    assert taken(f"{base}/attachments/a", own) == ("our-bucket", "attachments/a")
    assert taken(f"{base}/other/a", own) is None
    assert taken(f"{base}/attachments/files/000/000/001/original/a", own) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("https://a/b%2Fc", "https://a/b/c", True, id="%2F"),
        pytest.param("https://a/b", "HTTPS://A:443/b?c", True, id="case, port and query"),
        pytest.param("https://a./b", "https://a/b", True, id="a dot at the end of the host"),
        pytest.param("https://a/b", "http://a/b", False, id="another scheme"),
        pytest.param("https://a/b", "https://a/B", False, id="another case of the path"),
        pytest.param("https://a/b", "https://b/b", False, id="another host"),
        pytest.param("no address", "no address", True, id="equal text"),
        pytest.param("https://a:x/b", "https://a/b", False, id="no port"),
    ],
)
def test_spellings_of_an_address_are_told_from_other_addresses(
    one: str, other: str, same: bool
) -> None:
    assert same_address(one, other) is same
    assert same_address(other, one) is same
