"""Uppy, an upload library for web pages, uploads a file with a ticket of the service."""

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.data.images import gradient_photo
from tests.support.chromium import CHROMIUM
from tests.support.local import ROOT, LocalStack
from tests.support.page_site import running_site

FOLDER = ROOT / "tests/uppy"
NPM = shutil.which("npm")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install chromium"),
    pytest.mark.skipif(NPM is None, reason="npm is missing: install Node.js"),
]


def bundled(folder: Path) -> str:
    """Install the packages of package-lock.json, and return a bundle of the page's script."""
    assert NPM is not None
    for name in ("package.json", "package-lock.json", ".npmrc", "page.js"):
        shutil.copy(FOLDER / name, folder / name)
    subprocess.run(
        [NPM, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        check=True,
    )
    run = subprocess.run(
        [folder / "node_modules/.bin/esbuild", "page.js", "--bundle", "--format=esm"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout


async def test_uppy_uploads_with_a_ticket(
    context: BrowserContext, local: LocalStack, tmp_path: Path
) -> None:
    page = f"<!doctype html><title>Uppy</title><script type=module>{bundled(tmp_path)}</script>"
    async with running_site(local, page) as port:
        view = await context.new_page()
        await view.goto(f"http://127.0.0.1:{port}/")

        state = await view.evaluate(
            "(bytes) => window.run('photo.jpg', Uint8Array.from(bytes))", list(gradient_photo())
        )
        await view.close()

    assert state == "ready"
