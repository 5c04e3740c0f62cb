"""Settings of events: topics, signature versions, dead letters, tokens."""

import pytest

from tests.support.settings import faults_of, load_with


def test_by_default_no_topic_is_ours_and_version_1_is_refused(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = load_with(environment)

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
    assert load_with(environment, SNS_TOPICS=" , ".join(topics)).sns_topics == topics


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
def test_a_value_that_is_not_a_topics_arn_is_a_fault(
    environment: pytest.MonkeyPatch, topic: str
) -> None:
    good = "arn:aws:sns:eu-west-1:123456789012:uploads"
    (sent,) = faults_of(environment, SNS_TOPICS=f"{good},{topic}")

    assert sent.startswith("ATTACHMENTS_SNS_TOPICS: must be ARNs of topics, such as arn:aws:sns:")


@pytest.mark.parametrize(
    ("given", "versions"), [("2", ("2",)), ("1,2", ("1", "2")), (" 2 , 1 ", ("2", "1"))]
)
def test_versions_of_signatures_are_1_and_2(
    environment: pytest.MonkeyPatch, given: str, versions: tuple[str, ...]
) -> None:
    settings = load_with(environment, SNS_SIGNATURE_VERSIONS=given)

    assert settings.sns_signature_versions == versions


@pytest.mark.parametrize("given", ["0", "3", "1,2,3", "v2", "2.0", "12", "٢"])
def test_there_are_no_other_versions(environment: pytest.MonkeyPatch, given: str) -> None:
    assert faults_of(environment, SNS_SIGNATURE_VERSIONS=given) == [
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
    assert [line.partition(":")[0] for line in faults_of(environment, **{name: given})] == [
        f"ATTACHMENTS_{name}"
    ]


@pytest.mark.parametrize("name", ["EVENTS_TOKENS", "TEMP_URL_BUCKETS", "SNS_TOPICS"])
def test_a_list_of_nothing_is_a_fault(environment: pytest.MonkeyPatch, name: str) -> None:
    assert faults_of(environment, **{name: " , "}) == [
        f"ATTACHMENTS_{name}: has commas, but no entry between them"
    ]


def test_of_three_events_tokens_one_is_too_many(environment: pytest.MonkeyPatch) -> None:
    tokens = ",".join(f"token-number-{number}-" + "x" * 8 for number in range(3))

    assert faults_of(environment, EVENTS_TOKENS=tokens) == [
        "ATTACHMENTS_EVENTS_TOKENS: at most two tokens may be live"
    ]
