"""Turn images into thumbnails: pure functions over an open file. They run only inside the sandbox.

The order of the steps is the cheapest and safest one: header → limits → decode (the decoder
shrinks, if the format can) → shrink → sRGB → upright → encode without metadata.
"""

import io
import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL import Image, ImageChops, ImageFile, TiffImagePlugin

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE, Facts, Thumbnail
from worker.decoding.inside import apng, codecs, colours, costs, damage, icon, jpeg, png, streaming
from worker.decoding.inside.codecs import Findings
from worker.decoding.inside.colour_spaces import ColourSpace
from worker.decoding.inside.costs import BUDGET, Cost
from worker.decoding.inside.hidden_damage import ends_grey, ends_unwritten, is_damaged
from worker.decoding.inside.orientation import (
    ORIENTATION,
    left_to_turn,
    read_orientation,
    swaps_edges,
)
from worker.decoding.inside.pictures import Look, make_pictures
from worker.decoding.inside.polyglots import carries_more, is_cut_off
from worker.decoding.inside.shrinking import Rectangle, drafted, fitting
from worker.decoding.inside.streaming import shrunk


@dataclass(frozen=True, slots=True)
class _Header:
    """What an image's header says about its colours, orientation and compression.

    It is read before any pixel is decoded. So a profile or an orientation after the pixels of a PNG
    is ignored, as in browsers.
    """

    colour: bytes | ColourSpace | None
    orientation: int
    is_lossless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """A decoded image. Some of its pixels may be missing.

    `missing` is a mask that is 255 at pixels that could not be decoded; None means that all pixels
    were decoded. `area` is the part of the pixels that belongs to the image; None means all. If the
    decoder shrinks a JPEG, it may add pixels at the edge, which do not belong to the image.
    `covered` is the part of a GIF's canvas that its first frame covers, or None. `shrunk` has the
    pixels if they were shrunk while they were decoded; `image` then has only the header.
    """

    image: ImageFile.ImageFile
    area: Rectangle | None
    covered: tuple[int, int, int, int] | None
    header: _Header
    missing: Image.Image | None = None
    shrunk: Image.Image | None = None


def load_codecs(more: Collection[str] = ()) -> None:
    """Make JPEG, PNG, GIF, WebP and the optional formats in `more` decodable.

    Imports every codec and uses it once, with an orientation and a colour profile, so that no later
    job loads code. Raises ImportError if a decoder in `more` is not installed.
    """
    streaming.load()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for reader in codecs.choose_readers(more):
        file = io.BytesIO(getattr(reader, "sample", b""))
        if not file.getbuffer():
            image = Image.new("RGB", (64, 64))
            image.save(file, reader.format, exif=exif, icc_profile=colours.srgb_profile())
        make_thumbnail(file)


def make_thumbnail(
    file: BinaryIO, *, budget: Cost = BUDGET, edges: Sequence[int] = (THUMB_EDGE,)
) -> Thumbnail:
    """Make a thumbnail for each of `edges`: upright, in sRGB, with alpha, without metadata.

    A thumbnail's longer side has at most `edge` pixels. An image is never enlarged.

    JPEG gives JPEG, PNG gives PNG, WebP gives WebP. GIF gives a PNG of its first frame. All
    others give JPEG, or PNG if a pixel is transparent, or if the original is lossless and small.
    For a damaged image, shows the part that can be decoded. Raises Undecodable with `damaged`,
    `too_expensive` or `unsupported`, and with the size if a header gives it.
    """
    findings = Findings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            findings.facts = Facts(carries_more=carries_more(file))
            return _make(file, findings, budget, edges)
    except Undecodable as error:
        code = error.code
    except (MemoryError, Image.DecompressionBombError):
        code = "too_expensive"
    except Exception as error:  # Pillow raises almost any exception for a bad file
        code = "unsupported" if codecs.is_unknown(file, error) else "damaged"
    facts, opened = findings.facts, findings.opened
    if opened is not None and "exif" in opened.info and swaps_edges(read_orientation(opened)):
        facts = _turned(facts)
    raise Undecodable(code, facts)


def _turned(facts: Facts) -> Facts:
    return replace(facts, width=facts.height, height=facts.width)


def _make(file: BinaryIO, findings: Findings, budget: Cost, edges: Sequence[int]) -> Thumbnail:
    picture = icon.largest_picture(file)
    file = file if picture is None else picture.file
    frame = apng.first_frame(file)
    covers_all = frame is None or frame.covers_all
    decoded = _decode(
        file if frame is None else frame.file, findings, budget, edges, streams=covers_all
    )
    image, header = decoded.image, decoded.header
    orientation = header.orientation
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        orientation = left_to_turn(image)
    pixels = decoded.shrunk or _placed(colours.plain(image), image, decoded.covered)
    if decoded.missing is not None:
        pixels = _without(pixels, decoded.missing, image.format)
    if picture is not None and picture.alpha is not None:
        pixels = pixels.convert("RGBA")
        pixels.putalpha(picture.alpha)
    if frame is not None:
        findings.damaged |= is_cut_off(file)
        pixels = _on_canvas(pixels, frame, findings, budget)
    facts = findings.facts
    assert facts.width is not None
    assert facts.height is not None
    pictures, hashed = make_pictures(
        pixels,
        (facts.width, facts.height),
        decoded.area or (0, 0, *pixels.size),
        Look(
            colour=header.colour,
            orientation=orientation,
            format="ICO" if picture is not None else image.format or "",
            is_lossless=header.is_lossless,
        ),
        edges,
    )
    return Thumbnail(
        pictures=pictures,
        facts=replace(_turned(facts) if swaps_edges(orientation) else facts, thumbhash=hashed),
        reason="damaged" if findings.damaged else None,
    )


def _decode(
    file: BinaryIO, findings: Findings, budget: Cost, edges: Sequence[int], *, streams: bool
) -> _Decoded:
    """Decode an image, or the part of it that can be decoded.

    If `streams` is true, an image may be shrunk while it is decoded. Raises Undecodable, or any
    exception of a reader.
    """
    opened: list[tuple[Rectangle | None, tuple[int, int, int, int] | None, _Header]] = []

    def open_(view: BinaryIO) -> ImageFile.ImageFile:
        image = codecs.open_image(view, findings, budget)
        if _cost(image, findings, view, edges).exceeds(budget):
            raise Undecodable("too_expensive")
        header = _header(image, view)
        area = _prepare(image, max(edges))
        opened.append((area, image.tile[0].extents if image.format == "GIF" else None, header))
        return image

    missing = None
    try:
        image = open_(file)
        largest = fitting(*image.size, max(edges))
        if streams and (streamed := shrunk(image, file, largest)) is not None:
            findings.damaged |= is_damaged(image, file)
            pixels, kept = streamed
            return _Decoded(
                image=image, area=kept, covered=None, header=opened[-1][2], shrunk=pixels
            )
        image.load()
        if image.format == "PNG" and ends_unwritten(image) and png.lacks_rows(file):
            raise EOFError("rows are missing")
    except (Undecodable, MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        if codecs.is_unknown(file, error):
            raise
        findings.damaged = True
        rest = damage.decode_rest(file, findings, open_)
        image, missing = rest.image, rest.missing
        findings.opened = image  # this frees the image of the first attempt
    if image.format == "JPEG" and findings.jpeg_header is not None and ends_grey(image):
        findings.damaged |= jpeg.ends_early(file, findings.jpeg_header)
    findings.damaged |= not getattr(image, "is_whole", True)  # only of JPEG XL
    findings.damaged |= is_damaged(image, file)
    area, covered, header = opened[-1]
    return _Decoded(image=image, area=area, covered=covered, header=header, missing=missing)


def _header(image: ImageFile.ImageFile, file: BinaryIO) -> _Header:
    """Read the colours and the orientation of an image whose pixels are not decoded yet."""
    image.info.pop("xmp", None)  # otherwise Pillow turns a TIFF as its XMP says
    return _Header(
        colour=codecs.colour_of(image, file),
        orientation=read_orientation(image),
        is_lossless=codecs.is_lossless(image, file),
    )


def _cost(
    image: ImageFile.ImageFile, findings: Findings, file: BinaryIO, edges: Sequence[int]
) -> Cost:
    further = costs.of_sizes({fitting(*image.size, edge) for edge in edges[1:]})
    if findings.jpeg_header is None or image.format != "JPEG":
        return costs.of_image(image) + further
    width, height = drafted(*image.size, max(edges))
    scale = min(image.width // width, image.height // height)
    return further + costs.of_jpeg(
        findings.jpeg_header,
        file.seek(0, os.SEEK_END),
        next((each for each in (8, 4, 2) if scale >= each), 1),
    )


def _prepare(image: ImageFile.ImageFile, edge: int) -> Rectangle | None:
    """Set how the pixels will be decoded. `edge` is that of the largest thumbnail.

    Let the decoder shrink a JPEG, but not so much that a thumbnail would look worse. The decoder
    may round the size up. Then the function returns the part of the pixels that belongs to the
    image, otherwise None.
    """
    if image.format == "JPEG":
        made = image.draft(None, drafted(*image.size, edge))
        return made[1] if made else None
    if image.format == "PNG":
        colours.fit_key_colour(image, image.tile[0].args)
    return None


def _placed(
    plain: Image.Image, image: Image.Image, covered: tuple[int, int, int, int] | None
) -> Image.Image:
    """Make a GIF's canvas transparent where the first frame does not cover it.

    Pillow fills the uncovered part with a colour.
    """
    if covered in (None, (0, 0, *image.size)) or plain.mode in ("LA", "RGBA"):
        return plain
    canvas = Image.new("RGBA", image.size)
    canvas.paste(plain.crop(covered), covered)
    return canvas


def _on_canvas(
    pixels: Image.Image, frame: apng.Frame, findings: Findings, budget: Cost
) -> Image.Image:
    """Place a frame on its empty canvas, and record the canvas's size."""
    findings.has_size(*frame.canvas)
    if frame.covers_all:
        return pixels
    if costs.of_canvas(*frame.canvas).exceeds(budget):
        raise Undecodable("too_expensive")
    canvas = Image.new("RGBA", frame.canvas)
    canvas.paste(pixels, frame.position)
    return canvas


def _without(pixels: Image.Image, missing: Image.Image, kind: str | None) -> Image.Image:
    """Make undecoded pixels transparent; in a JPEG, which has no alpha, make them grey."""
    if kind == "JPEG":
        pixels = pixels.copy()
        pixels.paste(128 if pixels.mode == "L" else (128,) * len(pixels.mode), missing)
        return pixels
    seen = pixels.convert("LA" if pixels.mode in ("L", "LA") else "RGBA")
    shown = ImageChops.invert(missing)
    seen.putalpha(ImageChops.darker(seen.getchannel("A"), shown))
    return seen
