"""`make install` and other targets that build `.venv`. The packages come from a folder."""

import hashlib
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAKEN = ("Makefile", "pyproject.toml", "deploy/check_python.py", "deploy/install.py")
LOCKS = {
    "up": ["tiny-server"],
    "heic": ["tiny-heic"],
    "jxl": ["tiny-jxl"],
    "otel": ["tiny-otel"],
    "video": ["tiny-video"],
    "dev": ["tiny-server", "tiny-heic", "tiny-jxl", "tiny-otel", "tiny-video", "tiny-test"],
}
NAME = "jürgen ☃ 'q\" $x `b` ;#"

Ended = subprocess.CompletedProcess[str]


def make_wheel(folder: Path, name: str) -> str:
    """Make a wheel that holds one empty module, and return the line that pins it in a lock file."""
    module = name.replace("-", "_")
    record = f"{module}-1.0.dist-info"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}.py", "")
        wheel.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        tags = "Root-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{record}/WHEEL", f"Wheel-Version: 1.0\nGenerator: tests\n{tags}")
        wheel.writestr(f"{record}/RECORD", f"{module}.py,,\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{name}==1.0 \\\n    --hash=sha256:{digest}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout in a folder with an unusual name.

    Its lock files pin wheels that are in another folder.
    """
    folder = tmp_path / NAME
    for name in TAKEN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "deploy/requirements").mkdir()
    (tmp_path / "wheels").mkdir()
    lines = {name: make_wheel(tmp_path / "wheels", name) for name in LOCKS["dev"]}
    for lock, names in LOCKS.items():
        text = "".join(lines[name] for name in names)
        (folder / f"deploy/requirements/{lock}.lock").write_text(text)
    return folder


def make(checkout: Path, *words: str, python: str = sys.executable) -> Ended:
    """Run make as in a new shell, without a package index. `python` is the value of PYTHON."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("PIP_", "MAKE", "MFLAGS")
        )  # `make test` sets these variables for its child processes
    }
    folder = str(checkout.parent / "wheels")
    own = {"PYTHON": python, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder}
    variables = {**kept, **own, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
    return subprocess.run(
        ["make", *words],
        cwd=checkout,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def made(checkout: Path, *words: str) -> str:
    """Run make, assert that it succeeds, and return its output."""
    ended = make(checkout, *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def installed(checkout: Path) -> set[str]:
    """Return the names of the packages that are installed in a checkout's `.venv`."""
    return {name for name in LOCKS["dev"] if imports(checkout, name.replace("-", "_"))}


def imports(checkout: Path, module: str) -> bool:
    argv = [str(checkout / ".venv/bin/python"), "-I", "-c", f"import {module}"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_running_and_developing_each_install_their_packages_once(
    checkout: Path, tmp_path: Path
) -> None:
    sent = made(checkout, "install")
    assert "making .venv with " in sent
    assert "fetching tiny_server 1.0" in sent
    assert installed(checkout) == {"tiny-server"}
    assert made(checkout, "install") == ""

    assert "fetching tiny_heic 1.0" in made(checkout, "install", "EXTRAS=heic")
    assert installed(checkout) == {"tiny-server", "tiny-heic"}
    assert made(checkout, "install", "EXTRAS=heic") == ""

    assert "fetching tiny_otel 1.0" in made(checkout, "install", "EXTRAS=otel heic")
    assert installed(checkout) == {"tiny-server", "tiny-heic", "tiny-otel"}

    assert "fetching tiny_test 1.0" in made(checkout, "install", "EXTRAS=heic,dev")
    assert installed(checkout) == set(LOCKS["dev"])
    assert made(checkout, "install", "EXTRAS=dev heic") == ""

    # The command finds its checkout even if it is called through a symbolic link in another folder.
    (checkout / "deploy/__main__.py").write_text("import sys, deploy\nprint(sys.argv[1:])\n")
    (tmp_path / "command").symlink_to(checkout / ".venv/bin/attachments")
    for command in (checkout / ".venv/bin/attachments", tmp_path / "command"):
        ended = subprocess.run(
            [command, "a b", "$x"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert ended.stdout == "['a b', '$x']\n"
    version = "import importlib.metadata as m; m.version('attachments-upload-service')"
    subprocess.run([checkout / ".venv/bin/python", "-I", "-c", version], check=True)

    # `make` refuses an unusable PYTHON, and does not change the existing environment.
    refused = make(checkout, "install", "PYTHON=nowhere")
    assert "PYTHON=nowhere cannot be run" in refused.stderr
    assert installed(checkout) == set(LOCKS["dev"])


def too_old(folder: Path) -> Path:
    """Write a program that pretends to be Python 3.9."""
    return pretend(folder, "sys.version_info = (3, 9, 18, 'final', 0)")


def pypy(folder: Path) -> Path:
    """Write a program that pretends to be PyPy, a Python other than CPython."""
    return pretend(folder, "sys.implementation.name = 'pypy'")


def without_venv(folder: Path) -> Path:
    """Write a program that pretends to be a Python without `ensurepip`, such as Debian's."""
    return pretend(folder, "sys.modules['ensurepip'] = None")


def pretend(folder: Path, change: str) -> Path:
    path = folder / "python"
    run = "sys.argv = sys.argv[1:]; exec(compile(open(sys.argv[0]).read(), sys.argv[0], 'exec'))"
    path.write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "import sys; {change}; {run}" "$@"\n')
    path.chmod(0o755)
    return path


def gone(folder: Path) -> Path:
    """Create a symbolic link to a Python that no longer exists."""
    path = folder / "python"
    path.symlink_to("/nonexistent/python3.11")
    return path


@pytest.mark.parametrize(
    ("choose", "rule"),
    [
        (too_old, "Python 3.9.18 ({}) is too old: 3.11 or newer is needed"),
        (pypy, "is not CPython"),
        (without_venv, "lacks the module ensurepip"),
        (gone, "PYTHON={} cannot be run: name CPython 3.11 or newer"),
        (lambda _: Path("/bin/false"), "PYTHON={} cannot be run"),
    ],
    ids=["too old", "no CPython", "no venv", "not there", "no Python"],
)
def test_a_wrong_python_is_reported_in_one_line_and_leaves_nothing(
    checkout: Path, tmp_path: Path, choose: Callable[[Path], Path], rule: str
) -> None:
    python = choose(tmp_path)
    before = sorted(checkout.rglob("*"))
    ended = make(checkout, "install", python=str(python))
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert rule.format(python).replace(f"({python})", f"({sys.executable})") in ended.stderr
    assert sorted(checkout.rglob("*")) == before


def test_an_unknown_extra_is_reported_in_one_line(checkout: Path) -> None:
    ended = make(checkout, "install", "EXTRAS=webp")
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "EXTRAS=webp: there are heic jxl otel video and dev" in ended.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("unsuitable", [too_old, gone])
def test_an_environment_of_an_unsuitable_python_is_made_again(
    checkout: Path, unsuitable: Callable[[Path], Path]
) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    unsuitable(checkout / ".venv/bin")
    # Each of these files marks a group of packages as installed.
    for name in (".running", ".developing", ".heic", ".jxl", ".otel", ".video"):
        (checkout / ".venv" / name).touch()
    assert "it is made anew" in made(checkout, ".venv/.developing")
    assert installed(checkout) == set(LOCKS["dev"])
    # The packages for `make test` include those of `make install`, so `make install` does nothing.
    assert made(checkout, "install", "EXTRAS=heic,jxl,otel,video") == ""
    assert sysconfig.get_python_version() in str(list((checkout / ".venv/lib").iterdir()))
