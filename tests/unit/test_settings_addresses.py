"""Settings of addresses, buckets, regions, hosts and proxies."""

import pytest

from tests.support.settings import faults_of, load_with

NO_ADDRESS = {
    "DATABASE_URL-slash": "postgresql://u:s3cr3t/pw@h/x",
    "DATABASE_URL-slash after digits": "postgresql://u:1234/s3cr3t@h/x",
    "DATABASE_URL-port": "postgresql://u:s3cr3t@h:notaport/x",
    "DATABASE_URL-port too large": "postgresql://u:s3cr3t@h:65536/x",
    "DATABASE_URL-second port": "postgresql://u:s3cr3t@h:5432,i:notaport/x",
    "DATABASE_URL-brackets": "postgresql://u:[s3cr3t]@h/x",
    "DATABASE_URL-not normal": "postgresql://u:s3cr3t\u2100@h/x",
    "BROKER_URL-slash": "redis://:s3cr3t/pw@h/0",
    "BROKER_URL-slash after digits": "redis://:1234/s3cr3t@h/0",
    "BROKER_URL-port": "redis://:s3cr3t@h:notaport/0",
    "BROKER_URL-brackets": "rediss://:[s3cr3t]@h/0",
    "S3_ENDPOINT_URL-port": "http://h:notaport",
}


@pytest.mark.parametrize("case", NO_ADDRESS)
def test_an_address_that_cannot_be_parsed_is_reported_without_its_parts(
    environment: pytest.MonkeyPatch, case: str
) -> None:
    name = case.partition("-")[0]

    (sent,) = faults_of(environment, **{name: NO_ADDRESS[case]})

    assert sent.startswith(f"ATTACHMENTS_{name}: is not a valid address: ")
    assert not any(word in sent for word in ("s3cr3t", "pw", "notaport", "1234", "65536"))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        pytest.param("DATABASE_URL", "postgresql:///x?host=/run/postgresql", id="a socket"),
        pytest.param("DATABASE_URL", "postgres://u:a%2Fb@h:5432,i:5433/x", id="two hosts"),
        pytest.param("DATABASE_URL", "postgresql://u:p@[::1]:5432/x", id="IPv6"),
        pytest.param("BROKER_URL", "rediss://:a%2Fb@[::1]:6379/3?ssl_cert_reqs=none", id="TLS"),
    ],
)
def test_addresses_of_every_form_are_taken(
    environment: pytest.MonkeyPatch, name: str, address: str
) -> None:
    settings = load_with(environment, **{name: address})

    assert getattr(settings, name.lower()).get_secret_value() == address


@pytest.mark.parametrize(
    "bucket",
    [
        "ab",
        "a" * 64,
        "Not A Bucket",
        "Attachments",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "192.168.5.4",
        "abc\n",
    ],
)
def test_a_bucket_has_a_name_that_s3_takes(environment: pytest.MonkeyPatch, bucket: str) -> None:
    (sent,) = faults_of(environment, S3_BUCKET=bucket)

    assert sent.startswith("ATTACHMENTS_S3_BUCKET: must be the name of a bucket: 3 to 63")


@pytest.mark.parametrize("region", ["eu west", "eu.west", "-eu", "eu-", "12", "a" * 64, "eu\n"])
def test_a_region_has_a_name_that_botocore_takes(
    environment: pytest.MonkeyPatch, region: str
) -> None:
    (sent,) = faults_of(environment, S3_REGION=region)

    assert sent.startswith("ATTACHMENTS_S3_REGION: must be a region such as eu-west-1: ")


@pytest.mark.parametrize(
    "values",
    [
        {"S3_BUCKET": "a1c"},
        {"S3_BUCKET": "a" * 63},
        {"S3_BUCKET": "a.b-c.9"},
        {"S3_REGION": "garage"},
        {"S3_REGION": "a" * 63},
        {"S3_REGION": "us-gov-east-1"},
    ],
    ids=str,
)
def test_names_within_the_rules_are_taken(
    environment: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    load_with(environment, **values)


@pytest.mark.parametrize(
    ("values", "upload_url"),
    [
        pytest.param(
            {"S3_REGION": "eu-west-1"},
            "https://attachments.s3.eu-west-1.amazonaws.com",
            id="AWS",
        ),
        pytest.param(
            {"S3_ENDPOINT_URL": "http://127.0.0.1:8333/"},
            "http://127.0.0.1:8333/attachments",
            id="an endpoint",
        ),
        pytest.param(
            {"S3_ENDPOINT_URL": "http://seaweedfs:8333", "S3_PUBLIC_URL": "https://up.example/b/"},
            "https://up.example/b",
            id="a public address",
        ),
    ],
)
def test_uploads_go_where_clients_reach_the_bucket(
    environment: pytest.MonkeyPatch, values: dict[str, str], upload_url: str
) -> None:
    assert load_with(environment, **values).upload_url == upload_url


def test_hosts_are_written_as_browsers_send_them(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(
        environment, HOSTS=" API.Example ,localhost:8000,bücher.example,straße.de:1,[2001:DB8::0:1]"
    )

    assert " ".join(settings.hosts) == (
        "api.example localhost:8000 xn--bcher-kva.example xn--strae-oqa.de:1 [2001:db8::1]"
    )


NO_HOSTS = "http://a a/b a@b *.example * a: a:b a:99999 :80 [::1 [zz] a?b a#b a\\b %61 <a>"


@pytest.mark.parametrize("host", [*NO_HOSTS.split(), "a b", "a\u0085b"])
def test_an_invalid_host_is_a_fault(environment: pytest.MonkeyPatch, host: str) -> None:
    (fault,) = faults_of(environment, HOSTS=f"good.example,{host}")

    assert fault.startswith("ATTACHMENTS_HOSTS: must be hosts, each with its port ")


def test_an_api_on_loopback_knows_it(environment: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"):
        assert load_with(environment, API_HOST=address).listens_on_loopback
    for address in ("::", ".".join("0000"), "10.0.0.1", "api.example", "localhost.example"):
        assert not load_with(environment, API_HOST=address).listens_on_loopback


def test_settings_for_balancers_have_safe_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment)

    assert (settings.keep_alive, settings.drain) == (75, 0)
    assert (settings.redirect_ttl, settings.redirect_ttl_media) == (300, 3600)
    assert not settings.proxies


def test_trusted_proxies_are_networks(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment, TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1,2001:db8::/32")
    for address, trusted in {
        "10.255.0.1": True,
        "192.0.2.1": True,
        "192.0.2.2": False,
        "2001:db8::9": True,
        "::1": False,
        "127.0.0.1": False,
    }.items():
        assert settings.proxies.trusts(address) is trusted

    assert faults_of(environment, TRUSTED_PROXIES="10.0.0.0/8,proxy.example") == [
        "ATTACHMENTS_TRUSTED_PROXIES: must be networks or addresses such as 10.0.0.0/8 or"
        " 127.0.0.1: no names, and no bits beyond the length of the prefix"
    ]
    environment.delenv("ATTACHMENTS_TRUSTED_PROXIES")
    for name, value in (("KEEP_ALIVE", "0"), ("DRAIN", "-1"), ("REDIRECT_TTL", "302401")):
        (fault,) = faults_of(environment, **{name: value})
        assert fault.startswith(f"ATTACHMENTS_{name}: ")
        environment.delenv(f"ATTACHMENTS_{name}")
    assert faults_of(environment, FORWARDED_HEADERS="x") == [
        "ATTACHMENTS_FORWARDED_HEADERS: input should be 'any', 'x-forwarded' or 'forwarded'"
    ]
