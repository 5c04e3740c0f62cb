"""Provide PostgreSQL's programs at a path without characters that a shell treats specially."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READ_BY_SHELLS = frozenset('"$`\\')
"""Characters that a shell treats specially between double quotes."""


@contextmanager
def at_plain_path(binaries: Path) -> Iterator[Path]:
    """Yield the folder of the programs or, if its path has special characters, a temporary copy.

    `initdb` runs the other programs through a shell, with their path between double quotes. A
    symbolic link does not help, because `initdb` resolves it. Raises OSError.
    """
    if READ_BY_SHELLS.isdisjoint(str(binaries)):
        yield binaries
        return
    usual = tempfile.gettempdir()
    place = usual if READ_BY_SHELLS.isdisjoint(usual) else "/tmp"  # noqa: S108 - a random name in it
    with tempfile.TemporaryDirectory(prefix="attachments-", dir=place) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - PostgreSQL runs as another user than root
        package = binaries.parents[1]
        for each in (package, package.with_name(f"{package.name}.libs")):
            if each.is_dir():  # the macOS wheel has no separate folder of libraries
                shutil.copytree(each, Path(folder) / each.name, symlinks=True)
        yield Path(folder) / binaries.relative_to(package.parent)
