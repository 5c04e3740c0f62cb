"""The addresses of the bucket equal those of botocore, for all endpoints, regions and variables."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore.config import Config

from shared.errors import SettingsError
from shared.settings import Settings
from shared.signing import Credentials, presigned_get
from shared.storage import object_url
from shared.store_client import open_storage
from tests.support.service import make_settings

KEY = "attachments/files/000/000/004/original/img.png"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REQUIRED = {
    "ATTACHMENTS_DATABASE_URL": "postgresql://127.0.0.1/attachments",
    "ATTACHMENTS_BROKER_URL": "redis://127.0.0.1",
    "ATTACHMENTS_FILES_SECRET": "files-secret-of-the-tests",
}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide this machine's AWS variables, settings of the service, and AWS configuration file."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ATTACHMENTS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def settings(bucket: str, region: str | None, endpoint: str | None) -> Settings:
    """Make settings of a service that uses this bucket. A setting that is None is left out."""
    given = {"ATTACHMENTS_S3_BUCKET": bucket}
    if region is not None:
        given["ATTACHMENTS_S3_REGION"] = region
    if endpoint is not None:
        given["ATTACHMENTS_S3_ENDPOINT_URL"] = endpoint
    return make_settings({**REQUIRED, **given})


def theirs(bucket: str, region: str | None, endpoint: str | None) -> tuple[str, str, str]:
    """Return botocore's address for an upload, its signed GET address, and its signing region."""
    session = botocore.session.Session()
    # For AWS, set an addressing style. Otherwise, botocore returns the global endpoint for every
    # region.
    style: Any = (
        {} if endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") else {"addressing_style": "virtual"}
    )
    client: Any = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(signature_version="s3v4", s3=style),
    )
    post = client.generate_presigned_post(bucket, KEY)
    get = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": KEY}, 300)
    return post["url"], get, post["fields"]["x-amz-credential"].split("/")[2]


STORES = [
    pytest.param("the-bucket", "us-east-1", None, {}, id="the first region"),
    pytest.param("the-bucket", "eu-west-1", None, {}, id="Ireland"),
    pytest.param("the.dotted.bucket", "eu-west-1", None, {}, id="dots"),
    pytest.param("the.dotted.bucket", "us-east-1", None, {}, id="dots in the first region"),
    pytest.param("the-bucket", "cn-north-1", None, {}, id="China"),
    pytest.param("the.dotted.bucket", "cn-northwest-1", None, {}, id="dots in China"),
    pytest.param("the-bucket", "us-gov-west-1", None, {}, id="government"),
    pytest.param("the-bucket", "eusc-de-east-1", None, {}, id="Europe's own partition"),
    *(
        pytest.param(bucket, region, None, variables, id=f"{name}, {bucket}, {region}")
        for name, variables in {
            "dual-stack": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "FIPS": {"AWS_USE_FIPS_ENDPOINT": "true"},
            "both": {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
            "endpoint by variable": {"AWS_ENDPOINT_URL_S3": "http://localhost:4566"},
        }.items()
        for bucket in ("the-bucket", "the.dotted.bucket")
        for region in ("us-east-1", "us-west-2")
    ),
    *(
        pytest.param(bucket, "eu-west-1", endpoint, {}, id=f"{endpoint}, {bucket}")
        for endpoint in (
            "http://127.0.0.1:8333",
            "http://store.example:80",
            "https://store.example:443",
            "https://store.example:8443",
            "http://store.example:443",
            "https://Store.EXAMPLE",
            "http://Store.Example:80",
            "http://[::1]:8333",
            "http://[::1]:80",
            "https://store.example/s3/here",
            "https://s3.eu-west-1.amazonaws.com",
        )
        for bucket in ("the-bucket", "the.dotted.bucket")
    ),
    pytest.param(
        "the-bucket", "eu-west-1", "https://s3-accelerate.amazonaws.com", {}, id="accelerate"
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("bucket", "region", "endpoint", "variables"), STORES)
def test_clients_get_the_addresses_that_botocore_makes(
    bucket: str,
    region: str,
    endpoint: str | None,
    variables: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    post, get, signing_region = theirs(bucket, region, endpoint)
    made = dict(parse_qsl(urlsplit(get).query))
    of = settings(bucket, region, endpoint)

    ours = presigned_get(
        object_url=object_url(of, KEY),
        region=of.store.region,
        credentials=Credentials(access_key=ACCESS_KEY, secret_key=SECRET_KEY),
        now=datetime.strptime(made["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        lifetime_s=300,
        parameters={},
    )

    assert of.upload_url == post.rstrip("/")
    assert of.store.region == signing_region
    assert ours.partition("?")[0] == get.partition("?")[0]
    # The host is part of the signed text, so an equal signature means an equal host.
    assert dict(parse_qsl(urlsplit(ours).query)) == made


def test_the_accelerate_of_a_config_file_counts(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n    use_accelerate_endpoint = true\n")

    assert settings("the-bucket", "eu-west-1", None).upload_url == (
        "https://the-bucket.s3-accelerate.amazonaws.com"
    )
    with pytest.raises(SettingsError, match="Path-style addressing cannot be used"):
        _ = settings("the.dotted.bucket", "eu-west-1", None).upload_url
    own = settings("the-bucket", "eu-west-1", "http://store.example")
    assert own.upload_url == "http://store.example/the-bucket"


def test_variables_of_aws_do_not_move_a_store_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://other.example",
        "AWS_ENDPOINT_URL_S3": "http://other.example",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_DEFAULT_REGION": "us-west-2",
    }.items():
        monkeypatch.setenv(name, value)

    store = settings("the-bucket", None, "http://store.example:8333").store

    assert (store.url, store.region) == ("http://store.example:8333/the-bucket", "us-east-1")


def test_the_region_is_botocores_if_none_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert settings("the-bucket", None, None).store.region == "us-east-1"
    (tmp_path / "config").write_text("[profile far]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_PROFILE", "far")
    assert settings("the-bucket", None, None).store.region == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert settings("the-bucket", None, None).store.region == "us-west-2"
    assert settings("the-bucket", "eu-west-1", None).store.region == "eu-west-1"


@pytest.mark.parametrize(
    ("bucket", "variables", "fault"),
    [
        pytest.param("the-bucket--use1-az4--x-s3", {}, "a directory bucket", id="directory"),
        pytest.param("the-bucket", {"AWS_PROFILE": "nobody"}, "ProfileNotFound", id="profile"),
        pytest.param("the-bucket", {"AWS_ENDPOINT_URL": "nowhere"}, "AWS_ENDPOINT_URL", id="words"),
        pytest.param(
            "the-bucket", {"AWS_CONFIG_FILE": __file__}, "AWS settings: ConfigParse", id="no config"
        ),
        pytest.param("the-bucket", {"AWS_CA_BUNDLE": "/nowhere.pem"}, "AWS_CA_BUNDLE", id="bundle"),
    ],
)
async def test_a_bucket_without_an_address_is_a_fault_of_the_settings(
    bucket: str, variables: dict[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=fault):
        async with open_storage(settings(bucket, "eu-west-1", None)):
            pass
