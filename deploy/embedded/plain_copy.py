"""PostgreSQL's programs at a path that a shell reads as one word."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READ_BY_SHELLS = frozenset('"$`\\')
"""What a shell reads as more than itself between double quotes."""


@contextmanager
def at_plain_path(binaries: Path) -> Iterator[Path]:
    """Give the folder of the programs, or of a copy until the block ends.

    `initdb` has a shell run its neighbours by their path between double quotes. A link would not
    do: it looks where the link leads to. Raises OSError.
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
            if each.is_dir():  # a wheel for macOS has its libraries in the package itself
                shutil.copytree(each, Path(folder) / each.name, symlinks=True)
        yield Path(folder) / binaries.relative_to(package.parent)
