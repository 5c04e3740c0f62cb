"""The API refuses a `temp_url` whose object the client may not copy.

A fence is a key prefix in the settings. From a bucket with a fence, clients may copy only objects
whose keys begin with this prefix.
"""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.temp_urls import AWS, INSIDE_FENCES, OWN, find_taken, make_store_settings


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
        # SeaweedFS removes the additional slash, and would serve the object at the shorter path.
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
        pytest.param(
            INSIDE_FENCES, "https://uploads.example/other/a", id="beside the public address"
        ),
        pytest.param(INSIDE_FENCES, "https://uploads.example/dropped", id="a prefix of a segment"),
    ],
)
def test_any_other_address_names_nothing(store: Mapping[str, str], url: str) -> None:
    assert find_taken(url, make_store_settings(store)) is None


def test_an_ipv6_endpoint_can_be_the_own_store() -> None:
    own = make_store_settings({"ATTACHMENTS_S3_ENDPOINT_URL": "http://[::1]:8333"})

    assert find_taken("http://[::1]:8333/our-bucket/a", own) == ("our-bucket", "a")


@given(url=st.text(max_size=200) | st.from_regex(r"https?://[^/]{0,30}/.{0,60}"))
def test_no_text_is_taken_for_an_address_of_another_bucket(url: str) -> None:
    place = find_taken(url, AWS_SETTINGS)

    assert place is None or place[0] in AWS_SETTINGS.fences


AWS_SETTINGS = make_store_settings(AWS)
FENCED = make_store_settings(
    {**OWN, "ATTACHMENTS_TEMP_URL_BUCKETS": "fenced/in/{organization_id}/"}
)


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
def test_a_fence_admits_keys_with_its_prefix_and_no_others(
    key: str, organization_id: int, admitted: bool
) -> None:
    place = find_taken(f"http://store.example:8333/fenced/{key}", FENCED, organization_id)

    assert (place is not None) is admitted


def test_several_fences_of_a_bucket_add_up() -> None:
    base = "https://s3.amazonaws.com/fenced"

    assert find_taken(f"{base}/in/7/a", AWS_SETTINGS, 7) == ("fenced", "in/7/a")
    assert find_taken(f"{base}/for-all/a", AWS_SETTINGS, 7) == ("fenced", "for-all/a")
    assert find_taken(f"{base}/in/8/a", AWS_SETTINGS, 7) is None


def test_a_fence_in_the_own_bucket_bounds_it_and_opens_no_originals() -> None:
    own = make_store_settings(
        {"ATTACHMENTS_TEMP_URL_BUCKETS": "our-bucket/attachments/,our-bucket/up/"}
    )
    base = "https://our-bucket.s3.amazonaws.com"

    assert find_taken(f"{base}/up/a", own) == ("our-bucket", "up/a")
    assert find_taken(f"{base}/attachments/a", own) == ("our-bucket", "attachments/a")
    assert find_taken(f"{base}/other/a", own) is None
    assert find_taken(f"{base}/attachments/files/000/000/001/original/a", own) is None
