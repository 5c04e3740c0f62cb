"""The patterns by which a client limits the types of one attachment."""

import pytest

from shared.limits import allows


@pytest.mark.parametrize(
    ("patterns", "content_type", "allowed"),
    [
        (["image/*"], "image/png", True),
        (["image/*"], "image/svg+xml", True),
        (["image/*"], "IMAGE/PNG; a=b", True),
        (["image/*"], "imagex/png", False),
        (["image/png"], "image/png2", False),
        (["text/plain"], "text/plain; charset=utf-8", True),
        (["text/plain"], "text/html", False),
        (["image/jpg"], "image/jpeg", True),
        (["image/pjpeg"], "image/jpeg", True),
        (["image/jpeg"], "image/jpg", True),
        (["audio/x-wav"], "audio/wav", True),
        (["application/xml"], "text/xml; charset=utf-8", True),
        (["application/x-zip-compressed"], "application/zip", True),
        (["text/*"], "application/xml", True),
        (["image/jpg"], "image/png", False),
    ],
)
def test_a_pattern_allows_its_types(patterns: list[str], content_type: str, allowed: bool) -> None:
    assert allows(patterns, content_type) is allowed
