"""Addresses as they are stored and shown: what opens something is not in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import without_credentials

OBJECT = "https://uploads.s3.amazonaws.com/a/b%20c.pdf"
NAMES = (
    "X-Amz-Signature", "x-amz-credential", "X-AMZ-SECURITY-TOKEN", "AWSAccessKeyId", "Signature",
    "Expires", "Key-Pair-Id", "Policy", "Security-Token", "sig", "se", "sp", "token",
    "access_token", "SIG", "Token", "X-Goog-Signature", "any-other",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param("?{name}=s3cr3t", id="alone"),
        pytest.param("?1776398568&{name}=s3cr3t", id="after a stamp"),
        pytest.param("?versionId=1&{name}=s3cr3t&x=1", id="among others"),
        pytest.param("??{name}=s3cr3t", id="two question marks"),
        pytest.param("#{name}=s3cr3t", id="in the fragment"),
    ],
)
def test_no_parameter_is_kept(name: str, form: str) -> None:
    assert without_credentials(f"{OBJECT}{form.format(name=name)}") == OBJECT


@pytest.mark.parametrize("name", NAMES[:-1])
@pytest.mark.parametrize("mark", ["&", ";", "%3F", "%3f", "%253F", "%26"])
def test_a_parameter_in_the_path_is_cut_off_as_well(name: str, mark: str) -> None:
    assert without_credentials(f"{OBJECT}{mark}{name}=s3cr3t") == OBJECT
    assert without_credentials(f"{OBJECT}{mark}{name}%3Ds3cr3t") == OBJECT


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param(OBJECT, OBJECT, id="nothing to take away"),
        pytest.param(f"{OBJECT}?1776398568", f"{OBJECT}?1776398568", id="a stamp"),
        pytest.param(f"{OBJECT}?versionId=abc", OBJECT, id="a version, which is not what is taken"),
        pytest.param(f"{OBJECT}?", OBJECT, id="an empty query"),
        pytest.param("https://u:s3cr3t@host/a", "https://host/a", id="user and password"),
        pytest.param("https://u:s@cr3t@host/a", "https://host/a", id="an @ in the password"),
        pytest.param("https:\\\\u:s3cr3t@host/a", "https:\\\\host/a", id="backslashes"),
        pytest.param("u:s3cr3t@host/a", "host/a", id="no scheme"),
        pytest.param("https://u@host/a", "https://u@host/a", id="a user alone"),
        pytest.param("https://host/me@home.png", "https://host/me@home.png", id="an @ in the key"),
        pytest.param("https://host/a&b=c", "https://host/a&b=c", id="an ampersand in the key"),
        pytest.param("no address", "no address", id="no address"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@given(url=st.text(alphabet="ab:/?#@&=%3Fsig1\\", max_size=60) | st.text(max_size=60))
def test_what_is_shown_is_shown_the_same_again(url: str) -> None:
    shown = without_credentials(url)

    assert without_credentials(shown) == shown
    assert "#" not in shown
