"""Sessions of botocore share the models of AWS services, and still obey the configuration."""

from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ProfileNotFound

from shared.aws_models import share_models


def sharing() -> botocore.session.Session:
    """Return a session that shares the models."""
    session = botocore.session.Session()
    share_models(session)
    return session


def test_sessions_share_the_models_that_one_of_them_has_read(no_settings: None) -> None:
    first, second = sharing(), sharing()
    model = first.get_component("data_loader").load_service_model("s3", "service-2")
    assert second.get_component("data_loader").load_service_model("s3", "service-2") is model


def test_a_folder_of_other_models_is_searched_too(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = sharing().get_component("data_loader")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    changed = sharing().get_component("data_loader")
    assert str(tmp_path) in changed.search_paths
    assert str(tmp_path) not in usual.search_paths


def test_a_missing_profile_is_reported_only_when_a_client_is_made(
    no_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    session = sharing()
    with pytest.raises(ProfileNotFound, match="nobody"):
        session.create_client("s3", region_name="us-east-1")
