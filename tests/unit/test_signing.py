"""Signatures equal AWS's published examples, and those that botocore makes for the same request."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from shared.signing import Credentials, post_policy, presigned_get, sign_policy

# The example is in the Amazon S3 API Reference, "Example: Browser-Based Upload using HTTP POST
# (Using AWS Signature Version 4)". According to this page, the lines of the policy end in CR LF.
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PUBLISHED_POLICY = "\r\n".join(
    [
        '{ "expiration": "2015-12-30T12:00:00.000Z",',
        '  "conditions": [',
        '    {"bucket": "sigv4examplebucket"},',
        '    ["starts-with", "$key", "user/user1/"],',
        '    {"acl": "public-read"},',
        '    {"success_action_redirect":'
        ' "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},',
        '    ["starts-with", "$Content-Type", "image/"],',
        '    {"x-amz-meta-uuid": "14365123651274"},',
        '    {"x-amz-server-side-encryption": "AES256"},',
        '    ["starts-with", "$x-amz-meta-tag", ""],',
        "",
        '    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},',
        '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},',
        '    {"x-amz-date": "20151229T000000Z" }',
        "  ]",
        "}",
    ]
)
PUBLISHED_BASE64 = (
    "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7"
    "ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91"
    "c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3Qi"
    "OiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwi"
    "fSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRh"
    "LXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVT"
    "MjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNy"
    "ZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9"
    "LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAi"
    "MjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"
)
PUBLISHED_SIGNATURE = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"

NOW = datetime(2026, 4, 17, 4, 2, 48, 589_000, tzinfo=UTC)


def test_the_published_post_policy_gets_its_published_signature() -> None:
    policy = base64.b64encode(PUBLISHED_POLICY.encode()).decode()

    assert policy == PUBLISHED_BASE64
    assert sign_policy(policy, SECRET_KEY, "20151229", "us-east-1") == PUBLISHED_SIGNATURE


def test_the_published_presigned_get_comes_out_byte_for_byte() -> None:
    # The example is in "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    url = presigned_get(
        object_url="https://examplebucket.s3.amazonaws.com/test.txt",
        region="us-east-1",
        credentials=Credentials(access_key=ACCESS_KEY, secret_key=SECRET_KEY),
        now=datetime(2013, 5, 24, tzinfo=UTC),
        lifetime_s=86400,
        parameters={},
    )

    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt"
        "?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def policy_fields(**changes: Any) -> dict[str, str]:
    """Sign the policy of the contract's sample; keyword arguments replace values of the sample."""
    arguments: dict[str, Any] = {
        "bucket": "the-bucket",
        "key": "attachments/files/000/000/004/original/img.png",
        "region": "eu-west-1",
        "credentials": Credentials(access_key="AKID", secret_key="secret"),
        "now": NOW,
        "lifetime_s": 3600,
        "max_bytes": 314_572_800,
        "content_type": None,
    }
    return post_policy(**{**arguments, **changes})


def decoded(fields: dict[str, str]) -> str:
    """Return the JSON text of the signed policy."""
    return base64.b64decode(fields["policy"], validate=True).decode()


DOCUMENT_START = (
    '{"expiration":"2026-04-17T05:02:48Z","conditions":[{"bucket":"the-bucket"},'
    '{"key":"attachments/files/000/000/004/original/img.png"},{"success_action_status":"201"},'
    '["content-length-range",0,314572800],'
    '{"x-amz-credential":"AKID/20260417/eu-west-1/s3/aws4_request"},'
    '{"x-amz-algorithm":"AWS4-HMAC-SHA256"},{"x-amz-date":"20260417T040248Z"}'
)


@pytest.mark.parametrize(
    ("changes", "rest"),
    [
        pytest.param({}, "]}", id="permanent credentials"),
        pytest.param(
            {"credentials": Credentials(access_key="AKID", secret_key="secret", token="to/k+en==")},
            ',{"x-amz-security-token":"to/k+en=="}]}',
            id="temporary credentials",
        ),
        pytest.param(
            {"content_type": "application/pdf"},
            ',{"Content-Type":"application/pdf"}]}',
            id="declared type",
        ),
    ],
)
def test_the_policy_document_is_the_contracts_to_the_byte(
    changes: dict[str, Any], rest: str
) -> None:
    assert decoded(policy_fields(**changes)) == DOCUMENT_START + rest


@pytest.mark.parametrize(
    ("token", "content_type", "names"),
    [
        pytest.param(
            None,
            None,
            "key success_action_status policy x-amz-credential x-amz-algorithm x-amz-date"
            " x-amz-signature",
            id="plain",
        ),
        pytest.param(
            "token",
            None,
            "key success_action_status policy x-amz-credential x-amz-algorithm x-amz-date"
            " x-amz-security-token x-amz-signature",
            id="temporary credentials",
        ),
        pytest.param(
            None,
            "application/pdf",
            "key success_action_status Content-Type policy x-amz-credential x-amz-algorithm"
            " x-amz-date x-amz-signature",
            id="declared type",
        ),
    ],
)
def test_the_form_fields_come_in_the_contracts_order(
    token: str | None, content_type: str | None, names: str
) -> None:
    fields = policy_fields(
        credentials=Credentials(access_key="AKID", secret_key="secret", token=token),
        content_type=content_type,
    )

    assert list(fields) == names.split()


@given(
    token=st.none() | st.text(min_size=1),
    content_type=st.none() | st.sampled_from(["image/png", 'text/plain; charset="a b"']),
)
def test_every_form_field_is_a_condition_and_the_other_way_round(
    token: str | None, content_type: str | None
) -> None:
    # S3 refuses a form field for which the policy has no condition, except for the policy itself,
    # the signature and the file.
    fields = policy_fields(
        credentials=Credentials(access_key="AKID", secret_key="secret", token=token),
        content_type=content_type,
    )
    conditions: dict[str, str] = {}
    for condition in json.loads(decoded(fields))["conditions"]:
        if isinstance(condition, dict):
            conditions.update(condition)

    posted = {name: fields[name] for name in fields if name not in ("policy", "x-amz-signature")}
    assert posted == {name: conditions[name] for name in conditions if name != "bucket"}


def test_a_policy_is_dated_in_utc_in_every_time_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=13)))

    assert policy_fields(now=elsewhere) == policy_fields()


def test_the_signature_is_that_of_the_policy_with_the_days_key() -> None:
    fields = policy_fields()

    assert fields["x-amz-signature"] == sign_policy(
        fields["policy"], "secret", "20260417", "eu-west-1"
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"now": NOW + timedelta(days=1)}, id="day"),
        pytest.param({"region": "eu-west-2"}, id="region"),
        pytest.param({"credentials": Credentials(access_key="AKID", secret_key="x")}, id="secret"),
        pytest.param({"key": "attachments/files/000/000/005/original/img.png"}, id="key"),
        pytest.param({"max_bytes": 1}, id="size"),
    ],
)
def test_the_signature_changes_with_everything_that_it_vouches_for(changes: dict[str, Any]) -> None:
    assert policy_fields(**changes)["x-amz-signature"] != policy_fields()["x-amz-signature"]


@cache
def botocore_client(token: str | None) -> Any:
    """Make a botocore client, the reference implementation. The tests send no request with it."""
    return botocore.session.Session().create_client(
        "s3",
        region_name="eu-west-1",
        endpoint_url="http://127.0.0.1:8333",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


# A `?` or `#` would end the path of a URL. No key contains these characters (shared.keys), so the
# tests leave them out.
odd_keys = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="?#\u2028\u2029"),
    min_size=1,
    max_size=40,
).filter(lambda key: not key.startswith("/") and key == key.strip() and key not in (".", ".."))
odd_values = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40)


@given(
    key=odd_keys,
    token=st.sampled_from([None, "FQoGZXIvYXdzE+/=="]),
    lifetime_s=st.integers(1, 604_800),
    overrides=st.fixed_dictionaries(
        {},
        optional={
            "response-content-type": odd_values,
            "response-content-disposition": odd_values,
            "response-cache-control": odd_values,
        },
    ),
)
def test_a_presigned_get_is_the_one_that_botocore_makes(
    key: str, token: str | None, lifetime_s: int, overrides: dict[str, str]
) -> None:
    parameters = {
        {
            "response-content-type": "ResponseContentType",
            "response-content-disposition": "ResponseContentDisposition",
            "response-cache-control": "ResponseCacheControl",
        }[name]: value
        for name, value in overrides.items()
    }
    theirs = urlsplit(
        botocore_client(token).generate_presigned_url(
            "get_object",
            Params={"Bucket": "the-bucket", "Key": key, **parameters},
            ExpiresIn=lifetime_s,
        )
    )
    their_query = dict(parse_qsl(theirs.query, strict_parsing=True))

    ours = urlsplit(
        presigned_get(
            object_url=f"http://127.0.0.1:8333/the-bucket/{key}",
            region="eu-west-1",
            credentials=Credentials(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=token),
            now=datetime.strptime(their_query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
            lifetime_s=lifetime_s,
            parameters=overrides,
        )
    )

    assert (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)
    assert dict(parse_qsl(ours.query, strict_parsing=True)) == their_query
