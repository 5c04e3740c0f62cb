"""Settings: their defaults, and an error that names all invalid settings without their values."""

from collections import Counter
from typing import Literal, get_args, get_origin

import pytest

from shared.errors import SettingsError
from shared.settings import MORE_FORMATS, Settings, load_settings, retired_settings
from tests.support.settings import VALID, faults_of, load_with


def test_the_contracts_numbers_are_the_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment)

    assert settings.max_size == 314_572_800
    assert settings.policy_ttl == 3600
    assert settings.time_zone == "UTC"
    assert settings.files_public is False
    assert settings.files_ttl is None


def test_an_empty_environment_lists_all_missing_settings(
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


def test_an_empty_required_setting_is_reported_as_not_set(
    environment: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings()
    # Compose passes a variable with an empty value if its env file does not set the variable.
    for name in VALID:
        environment.setenv(f"ATTACHMENTS_{name}", "")
    with pytest.raises(SettingsError) as again:
        load_settings()

    assert str(again.value) == str(raised.value)


def test_a_secret_that_is_too_short_is_reported(environment: pytest.MonkeyPatch) -> None:
    assert faults_of(environment, FILES_SECRET="short") == [
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
def test_a_word_outside_a_list_is_refused_with_the_list(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    for word in ENUMERATED[name]:
        load_with(environment, FILES_URL="https://files.example", **{name.upper(): word})
    (sent,) = faults_of(environment, **{name.upper(): "none-of-these"})

    assert sent.startswith(f"ATTACHMENTS_{name.upper()}: ")
    assert all(word in sent for word in ENUMERATED[name])
    assert "none-of-these" not in sent


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
    "CONCURRENCY": "2",
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


def test_all_faults_are_reported_at_once(environment: pytest.MonkeyPatch) -> None:
    sent = faults_of(environment, **WRONG)

    assert sorted(line.partition(":")[0] for line in sent) == sorted(
        f"ATTACHMENTS_{name}" for name in WRONG
    )


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_reported_alone_too(environment: pytest.MonkeyPatch, name: str) -> None:
    sent = faults_of(environment, **{name: WRONG[name]})

    assert [line.partition(":")[0] for line in sent] == [f"ATTACHMENTS_{name}"]


def test_no_fault_shows_a_value(environment: pytest.MonkeyPatch) -> None:
    sent = "\n".join(faults_of(environment, **WRONG)).lower()

    assert [value for value in WRONG.values() if "secret" in value.lower() and value in sent] == []
    assert "secret-" not in sent
    assert "secret/" not in sent
    assert "secret 3" not in sent


def test_a_worker_has_a_slot_for_newcomers_at_least(environment: pytest.MonkeyPatch) -> None:
    (reported,) = faults_of(environment, CONCURRENCY="2")
    assert reported == "ATTACHMENTS_CONCURRENCY: input should be greater than or equal to 3"
    assert load_with(environment, CONCURRENCY="3").concurrency == 3


def test_no_secret_is_shown_with_the_settings(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(environment, EVENTS_TOKENS="token-of-the-events")

    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "password-of-postgres" not in shown
        assert "password-of-redis" not in shown
        assert "sixteen-letters!" not in shown
        assert "token-of-the-events" not in shown


def test_lists_are_words_with_commas(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(
        environment,
        TEMP_URL_BUCKETS=" one-bucket,two-buckets ,,",
        EVENTS_TOKENS="the-old-token-1234,the-new-token-5678",
    )

    assert settings.temp_url_buckets == ("one-bucket", "two-buckets")
    assert [token.get_secret_value() for token in settings.events_tokens] == [
        "the-old-token-1234",
        "the-new-token-5678",
    ]


def test_public_files_need_no_secret(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(
        environment, FILES_PUBLIC="true", FILES_URL="https://files.example/", FILES_SECRET=""
    )

    assert settings.files_public is True
    assert settings.files_url == "https://files.example"


def test_public_files_need_an_address(environment: pytest.MonkeyPatch) -> None:
    assert faults_of(environment, FILES_PUBLIC="true") == [
        "ATTACHMENTS_FILES_PUBLIC: is true, which requires ATTACHMENTS_FILES_URL"
    ]


def test_the_former_secret_is_as_long_as_any(environment: pytest.MonkeyPatch) -> None:
    assert load_with(environment).files_secret_previous is None
    environment.setenv("ATTACHMENTS_FILES_SECRET_PREVIOUS", "")
    assert load_with(environment).files_secret_previous is None
    assert faults_of(environment, FILES_SECRET_PREVIOUS="fifteen-letters") == [
        "ATTACHMENTS_FILES_SECRET_PREVIOUS: must have at least 16 characters"
    ]
    settings = load_with(environment, FILES_SECRET_PREVIOUS="sixteen, letters")
    assert settings.files_secret_previous is not None
    assert "sixteen, letters" not in repr(settings)


def test_links_end_after_a_minute_at_least_and_ten_years_at_most(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("ATTACHMENTS_FILES_TTL", "")
    assert load_with(environment).files_ttl is None
    for seconds in (60, 86400, 315_360_000):
        assert load_with(environment, FILES_TTL=str(seconds)).files_ttl == seconds
    for wrong in ("59", "0", "-1", "315360001", "1e9", "1d", "٦٠٠", " ", "9" * 5000):
        (fault,) = faults_of(environment, FILES_TTL=wrong)
        assert fault.startswith("ATTACHMENTS_FILES_TTL: ")


@pytest.mark.parametrize("value", ["50000000", "0", "many"])
def test_a_limit_of_pixels_is_accepted_and_ignored_with_a_warning(
    environment: pytest.MonkeyPatch, value: str
) -> None:
    assert retired_settings() == []
    assert not hasattr(load_with(environment, MAX_PIXELS=value), "max_pixels")
    (line,) = retired_settings()
    assert line.startswith("ATTACHMENTS_MAX_PIXELS is ignored: ")
    assert value not in line


def test_no_part_of_the_settings_replaces_a_validator_of_another() -> None:
    parts = [part for part in Settings.__mro__ if part.__module__.startswith("shared.")]
    assert len(parts) > 5
    names = Counter(
        name
        for part in parts
        for name, value in vars(part).items()
        if callable(getattr(value, "__func__", value)) and not name.startswith(("__", "_abc_"))
    )
    assert [name for name, count in names.items() if count > 1] == []
