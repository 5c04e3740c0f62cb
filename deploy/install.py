"""Install the packages of a lock file into this Python's environment, and print the progress.

    .venv/bin/python deploy/install.py LOCK

The checkout itself is linked and not built. The service needs no build, and build tools fail if the
folder has certain names. This file needs only the standard library.
"""

import os
import queue
import re
import subprocess
import sys
import sysconfig
import threading
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SILENCE_S = 5.0
"""If pip prints nothing for this many seconds, a line shows that it still runs."""

FETCHED = re.compile(
    r"Collecting (\S+?)==([^\s;]+)"
    r"|Processing (?:.*/)?([^/-]+)-([^/-]+)-[^/]*\.whl"
)
"""Matches the lines of pip that name a package, from an index or from a folder of wheels."""

COMMAND = """\
#!/bin/sh
# `attachments`, also through a link to this file and after the checkout was moved.
file=$(readlink -f -- "$0" 2>/dev/null) || file=$0
exec "$(dirname -- "$file")/python" -P -m deploy "$@"
"""


def print_line(line: str) -> None:
    """Print a line at once, without buffering."""
    print(line, flush=True)


def install(lock: Path) -> int:
    """Install the packages of a lock file with pip; return pip's exit status."""
    text = lock.read_text()
    count = len(re.findall(r"^[A-Za-z0-9]\S*==", text, re.MULTILINE))
    print_line(f"{lock}: {count} packages, installed unless they are there already")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
            "--require-hashes",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-r",
            str(lock),
        ],
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pass_on, args=(process, lines), daemon=True).start()
    began, doing = time.monotonic(), "asking for packages"
    while True:
        try:
            line = lines.get(timeout=SILENCE_S)
        except queue.Empty:
            print_line(f"  … {doing}, {time.monotonic() - began:.0f} s")
            continue
        if line is None:
            return process.wait()
        if fetched := FETCHED.match(line):
            name, version = (word for word in fetched.groups() if word is not None)
            doing = f"fetching {name} {version}"
            print_line(f"  {doing}")
        elif line.startswith("Installing collected packages"):
            doing = "unpacking what was fetched"
            print_line(f"  {doing}")


def _pass_on(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def link() -> None:
    """Make the checkout importable in this environment, and write its command and its version."""
    packages = Path(sysconfig.get_path("purelib"))
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    _forget_earlier(packages)
    # Python's module `site` misreads some names of folders. So write a relative path, without the
    # names of the folders above the checkout.
    (packages / "attachments.pth").write_text(f"{os.path.relpath(ROOT, packages)}\n")
    record = packages / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (record / "RECORD").write_text("")
    command = Path(sysconfig.get_path("scripts")) / "attachments"
    command.unlink(missing_ok=True)
    command.write_text(COMMAND)
    command.chmod(0o755)


def _forget_earlier(packages: Path) -> None:
    """Remove earlier links of the project, made by this script or, in older releases, by pip."""
    for pattern in ("__editable__*attachments*", "attachments*-*.dist-info/*"):
        for path in packages.glob(pattern):
            path.unlink()
    for path in packages.glob("attachments*-*.dist-info"):
        path.rmdir()


def main() -> None:
    """Install the packages of a lock file, then link the checkout."""
    if status := install(Path(sys.argv[1])):
        sys.exit(f"packages could not be installed (pip's status {status}): see above")
    link()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
