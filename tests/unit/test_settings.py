"""Settings: read from the environment alone, every fault told at once, no value ever shown."""

import os
from typing import Literal, get_args, get_origin

import pytest

from shared.errors import SettingsError
from shared.settings import MORE_FORMATS, Settings, load_settings, retired_settings
from tests.support.settings import VALID


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no setting is made."""
    for name in list(os.environ):
        if name.startswith("ATTACHMENTS_"):
            monkeypatch.delenv(name)
    return monkeypatch


def load(environment: pytest.MonkeyPatch, **values: str) -> Settings:
    """Load settings from the valid ones and those given; an empty value leaves one out."""
    for name, value in {**VALID, **values}.items():
        if value:
            environment.setenv(f"ATTACHMENTS_{name}", value)
    return load_settings()


def faults(environment: pytest.MonkeyPatch, **values: str) -> list[str]:
    """Load settings that cannot be used and return the lines of the message."""
    with pytest.raises(SettingsError) as raised:
        load(environment, **values)
    return str(raised.value).splitlines()


def test_the_contracts_numbers_are_the_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load(environment)

    assert settings.max_size == 314_572_800
    assert settings.policy_ttl == 3600
    assert settings.time_zone == "UTC"
    assert settings.files_public is False
    assert settings.files_ttl is None


def test_an_empty_environment_tells_everything_that_is_missing(
    environment: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert str(raised.value).splitlines() == [
        "ATTACHMENTS_DATABASE_URL: is not set",
        "ATTACHMENTS_BROKER_URL: is not set",
        "ATTACHMENTS_S3_BUCKET: is not set",
        "ATTACHMENTS_FILES_SECRET: is needed unless ATTACHMENTS_FILES_PUBLIC is true",
    ]


def test_what_is_needed_and_empty_is_told_as_what_is_not_set(
    environment: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    for name in VALID:  # as compose passes on a variable that its file does not have
        environment.setenv(f"ATTACHMENTS_{name}", "")
    with pytest.raises(SettingsError) as again:
        load_settings()

    assert str(again.value) == str(raised.value)


def test_a_secret_that_is_too_short_is_told_so(environment: pytest.MonkeyPatch) -> None:
    assert faults(environment, FILES_SECRET="short") == [
        "ATTACHMENTS_FILES_SECRET: must have at least 16 characters"
        " unless ATTACHMENTS_FILES_PUBLIC is true"
    ]


ENUMERATED = {
    **{
        name: get_args(field.annotation)
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is Literal
    },
    **{
        name: ("true", "false")
        for name, field in Settings.model_fields.items()
        if field.annotation is bool
    },
    "more_formats": tuple(MORE_FORMATS),
    "sns_signature_versions": ("1", "2"),
}


@pytest.mark.parametrize("name", ENUMERATED)
def test_a_word_that_is_none_of_a_list_is_told_the_list(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    for word in ENUMERATED[name]:
        load(environment, FILES_URL="https://files.example", **{name.upper(): word})
    (told,) = faults(environment, **{name.upper(): "none-of-these"})

    assert told.startswith(f"ATTACHMENTS_{name.upper()}: ")
    assert all(word in told for word in ENUMERATED[name])
    assert "none-of-these" not in told


def test_the_levels_of_the_log_are_among_the_lists() -> None:
    assert ENUMERATED["log_level"] == ("debug", "info", "warning", "error")


WRONG = {
    "DATABASE_URL": "mysql://secret-1",
    "BROKER_URL": "amqp://secret-2",
    "S3_BUCKET": "s3",
    "S3_REGION": "secret 3",
    "S3_ENDPOINT_URL": "ftp://secret-4",
    "S3_PUBLIC_URL": "https://secret-5:x@host",
    "FILES_URL": "https://host/?secret-6",
    "FILES_SECRET": "secret-7",
    "FILES_TTL": "59",
    "EVENTS_TOKENS": "secret-8",
    "SNS_TOPICS": "arn:aws:sns:secret-14",
    "SNS_SIGNATURE_VERSIONS": "3",
    "SQS_QUEUE_URL": "secret-15",
    "TEMP_URL_BUCKETS": "uploads/secret-17",
    "MAX_SIZE": "secret-9",
    "POLICY_TTL": "59",
    "RETENTION": "-1",
    "TIME_ZONE": "Secret/10",
    "API_PORT": "65536",
    "API_URL": "secret-11",
    "RATE_LIMIT": "-1",
    "DATABASE_POOL": "1",
    "CONCURRENCY": "1",
    "DECODERS": "0",
    "DECODER_TIMEOUT": "0",
    "MORE_FORMATS": "avif,secret-16",
    "ATTEMPTS": "0",
    "LEASE": "0.5",
    "SWEEP_INTERVAL": "0",
    "PUBLISH_GRACE": "0",
    "PENDING_CHECK": "0",
    "DEAD_LETTERS": "0",
    "DEAD_LETTER_AGE": "59",
    "LOG_FORMAT": "secret-12",
    "LOG_LEVEL": "secret-13",
}


def test_all_faults_are_told_at_once(environment: pytest.MonkeyPatch) -> None:
    told = faults(environment, **WRONG)

    assert sorted(line.partition(":")[0] for line in told) == sorted(
        f"ATTACHMENTS_{name}" for name in WRONG
    )


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_told_alone_too(environment: pytest.MonkeyPatch, name: str) -> None:
    told = faults(environment, **{name: WRONG[name]})

    assert [line.partition(":")[0] for line in told] == [f"ATTACHMENTS_{name}"]


def test_no_fault_shows_a_value(environment: pytest.MonkeyPatch) -> None:
    told = "\n".join(faults(environment, **WRONG)).lower()

    assert [value for value in WRONG.values() if "secret" in value.lower() and value in told] == []
    assert "secret-" not in told
    assert "secret/" not in told
    assert "secret 3" not in told


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
def test_an_address_that_cannot_be_taken_apart_is_told_without_its_words(
    environment: pytest.MonkeyPatch, case: str
) -> None:
    name = case.partition("-")[0]

    (told,) = faults(environment, **{name: NO_ADDRESS[case]})

    assert told.startswith(f"ATTACHMENTS_{name}: is not a valid address: ")
    assert not any(word in told for word in ("s3cr3t", "pw", "notaport", "1234", "65536"))


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
    settings = load(environment, **{name: address})

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
    (told,) = faults(environment, S3_BUCKET=bucket)

    assert told.startswith("ATTACHMENTS_S3_BUCKET: must be the name of a bucket: 3 to 63")


@pytest.mark.parametrize("region", ["eu west", "eu.west", "-eu", "eu-", "12", "a" * 64, "eu\n"])
def test_a_region_has_a_name_that_botocore_takes(
    environment: pytest.MonkeyPatch, region: str
) -> None:
    (told,) = faults(environment, S3_REGION=region)

    assert told.startswith("ATTACHMENTS_S3_REGION: must be a region such as eu-west-1: ")


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
    load(environment, **values)


def test_no_secret_is_shown_with_the_settings(environment: pytest.MonkeyPatch) -> None:
    settings = load(environment, EVENTS_TOKENS="token-of-the-events")

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "password-of-postgres" not in shown
        assert "password-of-redis" not in shown
        assert "sixteen-letters!" not in shown
        assert "token-of-the-events" not in shown


def test_lists_are_words_with_commas(environment: pytest.MonkeyPatch) -> None:
    settings = load(
        environment,
        TEMP_URL_BUCKETS=" one-bucket,two-buckets ,,",
        EVENTS_TOKENS="the-old-token-1234,the-new-token-5678",
    )

    assert settings.temp_url_buckets == ("one-bucket", "two-buckets")
    assert [token.get_secret_value() for token in settings.events_tokens] == [
        "the-old-token-1234",
        "the-new-token-5678",
    ]


def test_by_default_no_topic_is_ours_and_version_1_is_refused(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = load(environment)

    assert settings.sns_topics == ()
    assert settings.sns_signature_versions == ("2",)
    assert (settings.dead_letters, settings.dead_letter_age) == (1000, 30 * 86400)


@pytest.mark.parametrize(
    "topics",
    [
        ("arn:aws:sns:eu-west-1:123456789012:uploads",),
        ("arn:aws:sns:eu-west-1:1:a", "arn:aws:sns:us-east-1:1:A_b-9"),
        ("arn:aws-cn:sns:cn-north-1:1:a", "arn:aws-us-gov:sns:us-gov-west-1:1:a"),
        ("arn:aws:sns:eu-west-1:1:uploads.fifo",),
    ],
)
def test_topics_are_arns(environment: pytest.MonkeyPatch, topics: tuple[str, ...]) -> None:
    assert load(environment, SNS_TOPICS=" , ".join(topics)).sns_topics == topics


@pytest.mark.parametrize(
    "topic",
    [
        "uploads",
        "*",
        "arn:aws:sns:*:1:a",
        "arn:aws:sns:eu-west-1:1:",
        "arn:aws:sns:eu-west-1::a",
        "arn:aws:sqs:eu-west-1:1:a",
        "arn:aws:s3:::b",
        "ARN:AWS:SNS:EU-WEST-1:1:A",
        "arn:aws:sns:eu-west-1:1:a:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55",
        "arn:aws:sns:eu-west-1:1:" + "a" * 257,
        "arn:aws:sns:eu-west-1:1:a b",
        "arn:aws:sns:e:١:a",
    ],
)
def test_what_is_no_arn_of_a_topic_is_a_fault(environment: pytest.MonkeyPatch, topic: str) -> None:
    good = "arn:aws:sns:eu-west-1:123456789012:uploads"
    (told,) = faults(environment, SNS_TOPICS=f"{good},{topic}")

    assert told.startswith("ATTACHMENTS_SNS_TOPICS: must be ARNs of topics, such as arn:aws:sns:")


@pytest.mark.parametrize(
    ("given", "versions"), [("2", ("2",)), ("1,2", ("1", "2")), (" 2 , 1 ", ("2", "1"))]
)
def test_versions_of_signatures_are_1_and_2(
    environment: pytest.MonkeyPatch, given: str, versions: tuple[str, ...]
) -> None:
    settings = load(environment, SNS_SIGNATURE_VERSIONS=given)

    assert settings.sns_signature_versions == versions


@pytest.mark.parametrize("given", ["0", "3", "1,2,3", "v2", "2.0", "12", "٢"])
def test_there_are_no_other_versions(environment: pytest.MonkeyPatch, given: str) -> None:
    assert faults(environment, SNS_SIGNATURE_VERSIONS=given) == [
        "ATTACHMENTS_SNS_SIGNATURE_VERSIONS:"
        " must be 2, or 1,2 for topics that still sign by version 1"
    ]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("DEAD_LETTERS", "100001"),
        ("DEAD_LETTERS", "-1"),
        ("DEAD_LETTERS", "many"),
        ("DEAD_LETTER_AGE", "0"),
        ("DEAD_LETTER_AGE", "-60"),
        ("DEAD_LETTER_AGE", "1d"),
    ],
)
def test_dead_letters_have_bounds(environment: pytest.MonkeyPatch, name: str, given: str) -> None:
    assert [line.partition(":")[0] for line in faults(environment, **{name: given})] == [
        f"ATTACHMENTS_{name}"
    ]


@pytest.mark.parametrize("name", ["EVENTS_TOKENS", "TEMP_URL_BUCKETS", "SNS_TOPICS"])
def test_a_list_of_nothing_is_a_fault(environment: pytest.MonkeyPatch, name: str) -> None:
    assert faults(environment, **{name: " , "}) == [
        f"ATTACHMENTS_{name}: has commas, but no word between them"
    ]


def test_of_three_events_tokens_one_is_too_many(environment: pytest.MonkeyPatch) -> None:
    tokens = ",".join(f"token-number-{number}-" + "x" * 8 for number in range(3))

    assert faults(environment, EVENTS_TOKENS=tokens) == [
        "ATTACHMENTS_EVENTS_TOKENS: at most two tokens may be live"
    ]


def test_public_files_need_no_secret(environment: pytest.MonkeyPatch) -> None:
    settings = load(
        environment, FILES_PUBLIC="true", FILES_URL="https://files.example/", FILES_SECRET=""
    )

    assert settings.files_public is True
    assert settings.files_url == "https://files.example"


def test_public_files_need_an_address(environment: pytest.MonkeyPatch) -> None:
    assert faults(environment, FILES_PUBLIC="true") == [
        "ATTACHMENTS_FILES_PUBLIC: is true, which needs ATTACHMENTS_FILES_URL"
    ]


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
    assert load(environment, **values).upload_url == upload_url


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        pytest.param("Secret-Bucket", "the name of a bucket", id="capitals"),
        pytest.param("se", "the name of a bucket", id="too short"),
        pytest.param("10.0.0.1", "the name of a bucket", id="an IP address"),
        pytest.param("/secret/", "the name of a bucket", id="no bucket"),
        pytest.param("https://secret/", "the name of a bucket", id="an address"),
        pytest.param("secret-s3alias", "no alias of an access point", id="an alias"),
        pytest.param("uploads/", "must have no / at its end", id="an empty prefix"),
        pytest.param("uploads/secret", "must end with /", id="no slash at the end"),
        pytest.param("uploads/{organization_id}", "must end with /", id="an id without a slash"),
        pytest.param("uploads/{organisation_id}/", "no braces other than", id="misspelt"),
        pytest.param("uploads/{}/", "no braces other than", id="empty braces"),
        pytest.param("uploads/secret*/", "none of %", id="a pattern"),
        pytest.param("uploads/a%2Fb/", "none of %", id="encoded"),
        pytest.param("uploads/secret\\a/", "none of %", id="a backslash"),
        pytest.param("uploads//", "no empty segment", id="an empty segment"),
        pytest.param("uploads/../", "no . or ..", id="two dots"),
        pytest.param("uploads/./", "no . or ..", id="one dot"),
        pytest.param("uploads/.secret/", "not begin with a dot", id="a hidden folder"),
        pytest.param("uploads/a\x07/", "no control character", id="a control character"),
        pytest.param("uploads,uploads/a/", "both with a prefix and without", id="both"),
        pytest.param(
            "attachments/attachments/files/{organization_id}/",
            "must not lie below attachments/files/",
            id="where originals lie",
        ),
        pytest.param(
            "attachments/Attachments/Files/", "must not lie below", id="where originals lie, folded"
        ),
    ],
)
def test_a_word_of_temp_url_buckets_that_cannot_be_used_is_told_with_its_rule(
    environment: pytest.MonkeyPatch, words: str, rule: str
) -> None:
    told = faults(environment, TEMP_URL_BUCKETS=f"good-bucket,{words}")

    assert len(told) == 1
    assert told[0].startswith("ATTACHMENTS_TEMP_URL_BUCKETS: ")
    assert rule in told[0]
    assert "secret" not in told[0].lower()


def test_buckets_and_their_fences_are_read(environment: pytest.MonkeyPatch) -> None:
    settings = load(
        environment,
        TEMP_URL_BUCKETS="open-bucket, fenced/in/org-{organization_id}/, fenced/all/",
    )

    assert settings.fences == {
        "attachments": ("",),
        "open-bucket": ("",),
        "fenced": ("in/org-{organization_id}/", "all/"),
    }


def test_a_word_may_fence_the_own_bucket(environment: pytest.MonkeyPatch) -> None:
    assert load(environment, TEMP_URL_BUCKETS="attachments/up/").fences == {"attachments": ("up/",)}
    assert load(environment, TEMP_URL_BUCKETS="attachments").fences == {"attachments": ("",)}


def test_hosts_are_written_as_browsers_send_them(environment: pytest.MonkeyPatch) -> None:
    settings = load(
        environment, HOSTS=" API.Example ,localhost:8000,bücher.example,straße.de:1,[2001:DB8::0:1]"
    )

    assert " ".join(settings.hosts) == (
        "api.example localhost:8000 xn--bcher-kva.example xn--strae-oqa.de:1 [2001:db8::1]"
    )


NO_HOSTS = "http://a a/b a@b *.example * a: a:b a:99999 :80 [::1 [zz] a?b a#b a\\b %61 <a>"


@pytest.mark.parametrize("host", [*NO_HOSTS.split(), "a b", "a\u0085b"])
def test_what_is_no_host_is_a_fault(environment: pytest.MonkeyPatch, host: str) -> None:
    (fault,) = faults(environment, HOSTS=f"good.example,{host}")

    assert fault.startswith("ATTACHMENTS_HOSTS: must be hosts, each with its port ")


def test_an_api_on_loopback_knows_it(environment: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"):
        assert load(environment, API_HOST=address).listens_on_loopback
    for address in ("::", ".".join("0000"), "10.0.0.1", "api.example", "localhost.example"):
        assert not load(environment, API_HOST=address).listens_on_loopback


def test_the_former_secret_is_as_long_as_any(environment: pytest.MonkeyPatch) -> None:
    assert load(environment).files_secret_previous is None
    environment.setenv("ATTACHMENTS_FILES_SECRET_PREVIOUS", "")
    assert load(environment).files_secret_previous is None
    assert faults(environment, FILES_SECRET_PREVIOUS="fifteen-letters") == [
        "ATTACHMENTS_FILES_SECRET_PREVIOUS: must have at least 16 characters"
    ]
    settings = load(environment, FILES_SECRET_PREVIOUS="sixteen, letters")
    assert settings.files_secret_previous is not None
    assert "sixteen, letters" not in repr(settings)


def test_links_end_after_a_minute_at_least_and_ten_years_at_most(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("ATTACHMENTS_FILES_TTL", "")
    assert load(environment).files_ttl is None
    for seconds in (60, 86400, 315_360_000):
        assert load(environment, FILES_TTL=str(seconds)).files_ttl == seconds
    for wrong in ("59", "0", "-1", "315360001", "1e9", "1d", "٦٠٠", " ", "9" * 5000):
        (fault,) = faults(environment, FILES_TTL=wrong)
        assert fault.startswith("ATTACHMENTS_FILES_TTL: ")


def test_settings_for_balancers_have_safe_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load(environment)

    assert (settings.keep_alive, settings.drain) == (75, 0)
    assert (settings.redirect_ttl, settings.redirect_ttl_media) == (300, 3600)
    assert not settings.proxies


def test_trusted_proxies_are_networks(environment: pytest.MonkeyPatch) -> None:
    settings = load(environment, TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1,2001:db8::/32")
    for address, trusted in {
        "10.255.0.1": True,
        "192.0.2.1": True,
        "192.0.2.2": False,
        "2001:db8::9": True,
        "::1": False,
        "127.0.0.1": False,
    }.items():
        assert settings.proxies.trusts(address) is trusted

    assert faults(environment, TRUSTED_PROXIES="10.0.0.0/8,proxy.example") == [
        "ATTACHMENTS_TRUSTED_PROXIES: must be networks or addresses such as 10.0.0.0/8 or"
        " 127.0.0.1: no names, and no bits beyond the length of the prefix"
    ]
    environment.delenv("ATTACHMENTS_TRUSTED_PROXIES")
    for name, value in (("KEEP_ALIVE", "0"), ("DRAIN", "-1"), ("REDIRECT_TTL", "302401")):
        (fault,) = faults(environment, **{name: value})
        assert fault.startswith(f"ATTACHMENTS_{name}: ")
        environment.delenv(f"ATTACHMENTS_{name}")
    assert faults(environment, FORWARDED_HEADERS="x") == [
        "ATTACHMENTS_FORWARDED_HEADERS: input should be 'any', 'x-forwarded' or 'forwarded'"
    ]


@pytest.mark.parametrize("value", ["50000000", "0", "many"])
def test_a_limit_of_pixels_is_accepted_and_ignored_with_a_warning(
    environment: pytest.MonkeyPatch, value: str
) -> None:
    assert retired_settings() == []
    assert not hasattr(load(environment, MAX_PIXELS=value), "max_pixels")
    (line,) = retired_settings()
    assert line.startswith("ATTACHMENTS_MAX_PIXELS is ignored: ")
    assert value not in line
