"""The setting that lists buckets from which `temp_url` may copy, with optional key prefixes."""

import pytest

from tests.support.settings import faults_of, load_with


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        pytest.param("Secret-Bucket", "the name of a bucket", id="capitals"),
        pytest.param("se", "the name of a bucket", id="too short"),
        pytest.param("10.0.0.1", "the name of a bucket", id="an IP address"),
        pytest.param("/secret/", "the name of a bucket", id="no bucket"),
        pytest.param("https://secret/", "the name of a bucket", id="an address"),
        pytest.param("secret-s3alias", "no alias of an access point", id="an alias"),
        pytest.param("uploads/", "must not end with /", id="an empty prefix"),
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
        pytest.param("uploads,uploads/a/", "both with and without a prefix", id="both"),
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
def test_an_unusable_entry_of_temp_url_buckets_is_reported_with_its_rule(
    environment: pytest.MonkeyPatch, words: str, rule: str
) -> None:
    sent = faults_of(environment, TEMP_URL_BUCKETS=f"good-bucket,{words}")

    assert len(sent) == 1
    assert sent[0].startswith("ATTACHMENTS_TEMP_URL_BUCKETS: ")
    assert rule in sent[0]
    assert "secret" not in sent[0].lower()


def test_buckets_and_their_fences_are_read(environment: pytest.MonkeyPatch) -> None:
    settings = load_with(
        environment,
        TEMP_URL_BUCKETS="open-bucket, fenced/in/org-{organization_id}/, fenced/all/",
    )

    assert settings.fences == {
        "attachments": ("",),
        "open-bucket": ("",),
        "fenced": ("in/org-{organization_id}/", "all/"),
    }


def test_a_word_may_fence_the_own_bucket(environment: pytest.MonkeyPatch) -> None:
    assert load_with(environment, TEMP_URL_BUCKETS="attachments/up/").fences == {
        "attachments": ("up/",)
    }
    assert load_with(environment, TEMP_URL_BUCKETS="attachments").fences == {"attachments": ("",)}
