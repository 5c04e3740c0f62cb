"""The data directory of a local stack: the stack never uses files of another user."""

import json
import os
import stat
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.local.data_dir import ENVIRONMENT, KEPT, READY, held, local_environment, read_kept
from deploy.processes.supervisor import StartFailed

THEM = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def left_by_them(path: Path, document: object) -> Path:
    """Write a file that belongs to another user and is readable by everyone."""
    path.write_text(json.dumps(document))
    path.chmod(0o666)
    os.chown(path, THEM, THEM)
    return path


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o755, 0o711])
def test_no_other_user_may_write_in_a_directory_that_is_in_use(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with held(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == mode & ~0o022


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_directory_of_another_user_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    os.chown(tmp_path, THEM, THEM)
    with pytest.raises(StartFailed, match="belongs to another user"), held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@needs_root
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_files_of_another_user_in_an_open_directory_are_named(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o777)
    path = tmp_path / "seaweedfs"
    match kind:
        case "file":
            path.touch()
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("/nonexistent")
    os.chown(path, THEM, THEM, follow_symlinks=False)
    with pytest.raises(StartFailed, match="seaweedfs belongs to another user"), held(tmp_path):
        pass


@needs_root
def test_keys_and_settings_of_another_user_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ATTACHMENTS_")]:
        monkeypatch.delenv(name)
    left_by_them(tmp_path / KEPT, {"token": "a" * 64})
    left_by_them(tmp_path / ENVIRONMENT, {"ATTACHMENTS_DATABASE_URL": "postgresql://theirs"})
    left_by_them(
        tmp_path / READY, {"api_url": "http://127.0.0.1:9", "token": "t", "organization_id": 1}
    )
    with pytest.raises(PermissionError, match="belongs to another user"):
        read_kept(tmp_path)
    assert local_environment(tmp_path) is None
    (tmp_path / "file").touch()
    assert run(["upload", str(tmp_path / "file"), "--data-dir", str(tmp_path)]) == 1
    assert "ready.json cannot be read (PermissionError)" in capsys.readouterr().err
    assert run(["show", "1", "--data-dir", str(tmp_path)]) == 1
    assert f"the local stack in {tmp_path} belongs to another user" in capsys.readouterr().err
