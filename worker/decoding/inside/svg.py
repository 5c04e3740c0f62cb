"""Draw SVG with resvg, only inside a sandbox of its own.

resvg runs no scripts, plays no animations, and has no network code. But it would open files whose
paths are in the drawing. Both the sandbox and a limit on descriptors prevent this. resvg is written
in Rust, so a hostile drawing can use up time or memory, but can hardly take control of the process.
"""

import codecs
import io
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import BinaryIO, Final

from PIL import Image, PngImagePlugin
from resvg import render, usvg

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE, Facts, Picture, Thumbnail
from worker.decoding.inside import fonts
from worker.decoding.inside.encoding import encode
from worker.decoding.inside.thumbhash import thumbhash

OVERSAMPLING: Final = 2
"""A drawing is drawn at this many times the size of the largest thumbnail, then shrunk by Lanczos,
because resvg shrinks pictures inside a drawing coarsely."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of a drawing. Parsing takes up to ten times its size in memory."""

_TOO_MUCH: Final = ("NodesLimitReached", "ElementsLimitReached")
"""resvg's errors for a drawing with more than a million elements. Each repetition by `use`
counts."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf_8_sig"),
    (codecs.BOM_UTF32_LE, "utf_32"),
    (codecs.BOM_UTF32_BE, "utf_32"),
    (codecs.BOM_UTF16_LE, "utf_16"),
    (codecs.BOM_UTF16_BE, "utf_16"),
    (b"<\0", "utf_16_le"),
    (b"\0<", "utf_16_be"),
)
"""The first bytes of a text that show its encoding (XML 1.0, appendix F)."""

_DECLARED: Final = re.compile(
    rb"\s{0,100}<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']"
)

_ENCODINGS: Final = {
    **{name: name for name in ("utf-8", "us-ascii", "koi8-r", "koi8-u")},
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    **{f"windows-{page}": f"cp{page}" for page in range(1250, 1259)},
}
"""The declared encodings that are read, and Python's names for them."""

_SMALLEST: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    b'<rect width="4" height="4" opacity=".5"/><text y="9">warm</text></svg>'
)


def warm_up() -> None:
    """Read the fonts and draw once, so that no later job loads code or opens a file."""
    for name in {*_ENCODINGS.values(), *(encoding for _, encoding in _MARKS)}:
        codecs.lookup(name)
    make_thumbnail(io.BytesIO(_SMALLEST))


def make_thumbnail(file: BinaryIO, edges: Sequence[int] = (THUMB_EDGE,)) -> Thumbnail:
    """Draw an SVG as PNGs that are transparent where nothing is drawn, one for each of `edges`.

    The longer side has `edge` pixels even for a small drawing, because drawings can be enlarged
    without loss. The size in the result is that of the drawing, in CSS pixels. Raises Undecodable
    with `damaged`, `unsupported` (the encoding of the text) or `too_expensive`.
    """
    text, options = _read(file), _options()
    with _without_files(), _panics():
        tree = usvg.Tree.from_str(text, options)
        width, height = tree.int_size()
        scales = [edge / max(width, height) for edge in edges]
        sizes = [(max(1, round(width * scale)), max(1, round(height * scale))) for scale in scales]
        scale = max(scales) * OVERSAMPLING
        columns, rows = (OVERSAMPLING * edge for edge in max(sizes))
        drawn = render(tree, (scale, 0, 0, 0, scale, 0), bg_size=(columns, rows))
    large = PngImagePlugin.PngImageFile(io.BytesIO(drawn))
    images = [_without_idle_alpha(large.resize(size, Image.Resampling.LANCZOS)) for size in sizes]
    known = max(width, height) < 2**31
    facts = Facts(width=width, height=height) if known else Facts()
    return Thumbnail(
        pictures=tuple(
            Picture(
                body=encode(image, "PNG"),
                content_type="image/png",
                extension="png",
                width=image.width,
                height=image.height,
            )
            for image in images
        ),
        facts=replace(facts, thumbhash=thumbhash(images[0])),
    )


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.getchannel("A").getextrema()[0] == 255 else image


@cache
def _options() -> usvg.Options:
    options = usvg.Options.default()
    for font in fonts.installed():
        options.load_font_data(fonts.renamed(font))
    return options


def _read(file: BinaryIO) -> str:
    """Read the text of a drawing in its encoding, and replace invalid bytes."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Undecodable("too_expensive")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    declared = _DECLARED.match(data)
    name = declared[1].decode().lower() if declared is not None else "utf-8"
    if name not in _ENCODINGS:
        raise Undecodable("unsupported")
    return data.decode(_ENCODINGS[name], "replace")


@contextmanager
def _without_files() -> Iterator[None]:
    """Prevent the `with` block from opening files, even without a filter of system calls."""
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    except (OSError, ValueError):  # a sealed process cannot set limits or open files
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _panics() -> Iterator[None]:
    """Raise Undecodable if the Python package of resvg panics, which it does at every error.

    The exception of a Rust panic is no subclass of `Exception`, and its class cannot be imported.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        too_much = any(name in str(error) for name in _TOO_MUCH)
        raise Undecodable("too_expensive" if too_much else "damaged") from None
