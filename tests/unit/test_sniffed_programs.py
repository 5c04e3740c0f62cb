"""The worker finds programs that a desktop would run, at any position in a file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.reserved import TYPES
from tests.data import images
from tests.data.containers import zip_of
from tests.data.documents import DOCUMENTS
from tests.data.writing import HEAD, jar
from tests.support.identifying import MAX_LARGE_RANGE_BYTES, measure
from worker.sniffing.identify import sniff


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(images.ELF, id="elf"),
        pytest.param(images.PE, id="pe"),
        pytest.param(b"@echo off\r\ndel *.*\r\n", id="batch"),
    ],
)
def test_types_that_a_desktop_runs_are_reserved(content: bytes) -> None:
    assert sniff(content) in TYPES


def run_by_end() -> list[str]:
    """Return the names of the test files whose last bytes make a desktop run them."""
    return [
        name
        for name, (make, _, content_type) in DOCUMENTS.items()
        if content_type in TYPES and len(make()) > 300 and name not in ("exe", "elf")
    ]


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(name=st.deferred(lambda: st.sampled_from(run_by_end())), head_bytes=st.integers(512, HEAD))
def test_files_that_a_desktop_runs_are_found_in_few_bytes(name: str, head_bytes: int) -> None:
    make, _, content_type = DOCUMENTS[name]
    assert measure(make(), head_bytes)[0] == content_type


@pytest.mark.parametrize("before", [0, 200, 419])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("META-INF/MANIFEST.MF", "java-archive"),
        ("Meta-Inf/manifest.mf", "java-archive"),
        ("AndroidManifest.xml", "vnd.android.package-archive"),
    ],
)
def test_a_program_is_found_if_its_manifest_is_within_4_mib(
    name: str, found: str, before: int
) -> None:
    entries = [(f"{index:010000}", b"") for index in range(419)]
    content = zip_of([*entries[:before], (name, b""), *entries[before:]])
    assert len(content) > 2 * 419 * 10_000 > 1.99 * MAX_LARGE_RANGE_BYTES
    assert measure(content)[0] == f"application/{found}"


@pytest.mark.parametrize("name", ["a/META-INF/MANIFEST.MF", "META-INF/MANIFEST.MF.old"])
def test_a_directory_of_4_mib_makes_no_java_archive_by_names_that_are_like_it(name: str) -> None:
    assert measure(jar(before=200, after=200, name_bytes=9000, manifest=name))[0] == (
        "application/zip"
    )


def test_of_a_directory_of_more_than_4_mib_the_beginning_and_the_end_are_read() -> None:
    for before, found in ((5, "java-archive"), (500, "zip"), (600, "java-archive")):
        content = jar(before=before, after=600 - before, name_bytes=10_000)
        assert measure(content)[0] == f"application/{found}"


def test_macros_are_found_after_thousands_of_parts() -> None:
    parts = [(f"word/media/{index:01000}", b"") for index in range(600)]
    types, macros = ("[Content_Types].xml", b""), ("word/vbaProject.bin", b"")
    assert measure(zip_of([types, *parts]))[0].endswith("wordprocessingml.document")
    assert measure(zip_of([types, *parts[:300], macros, *parts[300:]]))[0] == (
        "application/vnd.ms-word.document.macroEnabled.12"
    )


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (b"", "application/x-desktop"),
        (b"#!/usr/bin/env xdg-open\n", "application/x-desktop"),
        (b"#!/usr/bin/python3\nimport java\n# x\n", "text/x-script.python"),
        (b"#!/usr/bin/python3\n", "application/x-desktop"),
        (b"\xef\xbb\xbf# x\n", "application/x-desktop"),
        (b"\n \t\r\n#\n\n# x\n", "application/x-desktop"),
        (b"# \xe9\n", "application/x-desktop"),
        (b"# x\n" * 9000, "application/x-desktop"),
        (b"# ", "text/plain; charset=utf-8"),
        (b"words\n", "text/plain; charset=utf-8"),
        (b"# x\n" * 9000 + b"x", "text/plain; charset=utf-8"),
    ],
)
def test_a_desktop_entry_is_found_after_comments_and_empty_lines(before: bytes, found: str) -> None:
    assert measure(before + b"[Desktop Entry]\nType=Application\nExec=sh\n")[0] == found


@pytest.mark.parametrize("space", [b"\n", b" ", b"\r\n", b"\t\n"])
def test_white_space_does_not_change_the_type(space: bytes) -> None:
    gap = space * (3000 // len(space))
    assert measure(gap)[0] == "text/plain; charset=utf-8"
    assert measure(gap + b"<p>words</p>")[0] == "text/html"
    assert sniff(b"#!/bin/sh\n" + gap + b"echo\n") == "text/x-shellscript"
    assert sniff(b"%PDF-1.7" + gap) == "application/pdf"
