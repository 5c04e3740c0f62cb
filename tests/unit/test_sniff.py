"""What a file is, by its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import content_types
from tests.data import images
from worker.sniff import DECODED, sniff


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(b"", "application/octet-stream", id="row67-empty"),
        pytest.param(b"\0", "application/octet-stream", id="one-byte"),
        pytest.param(b"plain words\n", "text/plain", id="text"),
        pytest.param(b'{"a": [1, 2, 3]}', "application/json", id="json"),
        pytest.param(b"%PDF-1.7\n1 0 obj\n", "application/pdf", id="pdf"),
        pytest.param(images.HTML, "text/html", id="row69-html"),
        pytest.param(images.SVG, "image/svg+xml", id="row70-svg"),
        pytest.param(images.png_with_zip(), "image/png", id="row71-png+zip"),
        pytest.param(images.png_with_html(), "image/png", id="row71-png+html"),
        pytest.param(images.gif_with_script(), "image/gif", id="row71-gif+js"),
        pytest.param(
            images.encode(images.quadrants(), "MPO", save_all=True,
                          append_images=[images.quadrants()]),
            "image/jpeg", id="row84-mpo",
        ),
        pytest.param(images.encode(images.quadrants(), "TIFF"), "image/tiff", id="row83-tiff"),
    ],
)  # fmt: skip
def test_a_file_is_named_by_what_it_holds(content: bytes, content_type: str) -> None:
    assert sniff(content) == content_type


@pytest.mark.parametrize("name", images.MODES)
def test_what_we_can_decode_is_recognised(name: str) -> None:
    content_type = sniff(images.MODES[name][0]())
    assert content_type == f"image/{name.partition('-')[0]}"
    assert content_type in DECODED


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(images.ELF, id="elf"),
        pytest.param(images.PE, id="pe"),
        pytest.param(images.SCRIPT, id="shell"),
        pytest.param(b"#!/bin/csh\necho\n", id="csh"),
        pytest.param(b"@echo off\r\ndel *.*\r\n", id="batch"),
    ],
)
def test_what_a_desktop_would_run_is_reserved(content: bytes) -> None:
    assert content_types.is_reserved(sniff(content))


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_it_is_a_well_formed_type(content: bytes) -> None:
    found = sniff(content)
    assert content_types.is_well_formed(found)
    assert found == content_types.essence(found)
