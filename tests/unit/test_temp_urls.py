"""The attribute `temp_url`: addresses of objects that may be copied, in all their spellings."""

from collections.abc import Mapping

import pytest

from api.temp_urls.locations import same_address
from tests.support.temp_urls import AWS, INSIDE_FENCES, OWN, find_taken, make_store_settings


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
            INSIDE_FENCES,
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
            INSIDE_FENCES,
            "https://uploads.example/drop/a/b",
            ("our-bucket", "a/b"),
            id="public address of the bucket",
        ),
        pytest.param(
            INSIDE_FENCES,
            "http://store.example:8333/our-bucket/a",
            ("our-bucket", "a"),
            id="inner address beside a public one",
        ),
    ],
)
def test_an_allowed_address_names_its_bucket_and_key(
    store: Mapping[str, str], url: str, place: tuple[str, str]
) -> None:
    assert find_taken(url, make_store_settings(store)) == place


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
def test_spellings_of_an_address_are_distinguished_from_other_addresses(
    one: str, other: str, same: bool
) -> None:
    assert same_address(one, other) is same
    assert same_address(other, one) is same
