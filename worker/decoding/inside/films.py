"""Make the poster of a film with FFmpeg, only inside a sandbox of its own.

FFmpeg gets the ranges of the film that the worker has read. If it needs another one, the job ends
with MissingRange. The worker reads that range and starts the job again. So the sandbox needs no
connection to the store, and no decoder waits for the store. FFmpeg starts no thread here.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Final

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream
from PIL import Image, ImageStat

from shared.errors import Undecodable
from shared.facts import THUMB_EDGE, Facts, Thumbnail, is_duration
from shared.reasons import UndecodableCode
from worker.decoding.inside import film_boxes
from worker.decoding.inside.colour_spaces import by_code_points
from worker.decoding.inside.orientation import swaps_edges
from worker.decoding.inside.pictures import Look, make_pictures
from worker.decoding.inside.pieces import Pieces
from worker.decoding.inside.shrinking import Size, fitting

CODECS: Final = frozenset(
    {"h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "prores"}
    | {"mpeg1video", "mpeg2video", "h263", "msmpeg4v2", "msmpeg4v3", "dvvideo", "theora"}
)
"""FFmpeg's decoders that are used. It has some hundred others, mostly of old games."""

SOUND: Final = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "opus", "vorbis", "flac"})
"""Decoders of sound that FFmpeg may open to find out what a film contains."""

MAX_PIXELS: Final = 40_000_000
"""Maximum size of a frame: 8K has 33 megapixels."""

PROBE_BYTES: Final = 2 * 1024 * 1024
"""Maximum number of bytes that FFmpeg reads to find the streams of a film."""

MAX_PACKETS: Final = 600
"""Maximum number of packets of the picture that are read to find a frame."""

DARK: Final = 12
"""A frame whose average brightness, up to 255, is below this is black or almost black. Many films
begin with such frames."""

OVERSAMPLING: Final = 2
"""FFmpeg shrinks a frame to this many times the size of the largest poster, and makes its pixels
square. Then Lanczos shrinks it to the size of the poster."""

_UNKNOWN: Final = 2  # AVCOL_SPC_UNSPECIFIED
_HIGH_DEFINITION: Final = (1280, 576)
"""If a frame does not state its colour matrix, BT.709 is used for a frame that is at least this
wide, or higher than this, and BT.601 for a smaller one. Players do the same."""

_ORIENTATIONS: Final = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""The orientation, as in Exif, by the signs of the display matrix (ISO/IEC 14496-12, 8.3.2)."""


def warm_up() -> None:
    """Decode a frame, so that no later job loads code."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 400, 16, "yuvj420p"  # larger than a poster
        stream.codec_context.thread_count = 1
        stream.set_display_rotation(90)
        for packet in (*stream.encode(VideoFrame(400, 16, "yuvj420p")), *stream.encode()):
            container.mux(packet)
    size = len(file.getvalue())
    film = {"size": size, "extents": [(0, size)], "final": True}
    make_thumbnail(file, {"film": film, "edges": [THUMB_EDGE]})


def make_thumbnail(file: BinaryIO, job: dict[str, Any]) -> Thumbnail:
    """Make the poster of a film: a frame near its start, as a JPEG for each of the job's `edges`.

    The job's `film` has the fields of `protocol.Film`. Raises MissingRange if another range is
    needed and the ranges are not `final`. Raises Undecodable with `damaged`, `unsupported` or
    `too_expensive`, and with the facts that the file states.
    """
    size, extents, final = (job["film"][name] for name in ("size", "extents", "final"))
    pieces = Pieces(file, size, extents)
    facts, made = Facts(), None
    code: UndecodableCode = "damaged"
    try:
        demuxer = film_boxes.demuxer_of(pieces)
        if demuxer is None:
            raise Undecodable("unsupported")
        with _open(pieces, demuxer) as container:
            stream = _picture(container)
            facts = _facts(container, stream, pieces, demuxer, size)
            moments = _moments(facts.duration) if demuxer != "mpegts" else [None]
            made = _make(container, stream, facts, moments, job["edges"])
            ends = [entry.pos + entry.size for entry in stream.index_entries[-1:]]
        if film_boxes.is_cut_off(pieces, demuxer, size, max(ends, default=0)):
            made = replace(made, reason="damaged")
    except Undecodable as error:
        code = error.code
    except MemoryError:
        code = "too_expensive"
    except (FFmpegError, ValueError, ArithmeticError, LookupError):
        pass
    if pieces.missing is not None and not final:
        raise pieces.missing
    if made is not None:
        return made
    starved = pieces.missing is not None and code == "damaged"
    raise Undecodable("too_expensive" if starved else code, facts)


def _open(pieces: Pieces, demuxer: str) -> InputContainer:
    options = {
        "codec_whitelist": ",".join(CODECS | SOUND),
        "probesize": str(PROBE_BYTES),
        "threads": "1",
    }
    if demuxer == "mov":
        options["fflags"] = "ignidx"  # otherwise FFmpeg visits all fragments
    limits = {"max_pixels": str(MAX_PIXELS), "threads": "1"}
    container = av.open(pieces, format=demuxer, container_options=options, options=limits)
    assert isinstance(container, InputContainer)
    return container


def _picture(container: InputContainer) -> VideoStream:
    """Return the first video stream that is not a cover. Raises Undecodable if there is none."""
    for stream in container.streams.video:
        is_cover = stream.disposition & stream.disposition.attached_pic
        if not is_cover and stream.codec_context is not None:  # None if FFmpeg has no decoder
            return stream
    raise Undecodable("unsupported")


def _facts(
    container: InputContainer, stream: VideoStream, pieces: Pieces, demuxer: str, size: int
) -> Facts:
    """Return the size of the picture, before any rotation, and the film's duration."""
    duration = None
    if container.duration and not film_boxes.is_partly_stated(pieces, demuxer, size):
        duration = round(container.duration / av.time_base, 3)
    context = stream.codec_context
    facts = Facts(duration=duration if is_duration(duration) else None)
    if context.width <= 0 or context.height <= 0:
        return facts
    width, height = context.width, context.height
    aspect = stream.sample_aspect_ratio
    if aspect is not None and 0.1 < aspect < 10:
        width = round(width * max(float(aspect), 1.0))
        height = round(height / min(float(aspect), 1.0))
    return replace(facts, width=width, height=height)


def _make(
    container: InputContainer,
    stream: VideoStream,
    facts: Facts,
    moments: Iterable[float | None],
    edges: Sequence[int],
) -> Thumbnail:
    context = stream.codec_context
    if context.codec.name not in CODECS:
        raise Undecodable("unsupported")
    if facts.width is None or facts.height is None:
        raise Undecodable("damaged")
    if context.width * context.height > MAX_PIXELS:
        raise Undecodable("too_expensive")
    context.thread_count = 1
    full = facts.width, facts.height
    size = fitting(*full, OVERSAMPLING * max(edges))
    chosen: tuple[Image.Image, Look] | None = None
    for moment in moments:
        if (frame := _frame_at(container, stream, moment)) is not None:
            image = _shrunk(frame, size)
            is_dark = ImageStat.Stat(image.convert("L")).mean[0] < DARK
            if chosen is None or not is_dark:
                # As for AVIF, browsers use the transfer function of sRGB, not those of cameras.
                points = frame.color_primaries, frame.color_trc
                colour = by_code_points(*points, video_gamma=None)
                chosen = image, Look(colour, _orientation(frame), "", is_lossless=False)
            if not is_dark:
                break
    if chosen is None:
        raise Undecodable("damaged")
    image, look = chosen
    area = (0, 0, *image.size)
    pictures, placeholder = make_pictures(image, full, area, look, edges)
    if swaps_edges(look.orientation):
        facts = replace(facts, width=facts.height, height=facts.width)
    return Thumbnail(pictures=pictures, facts=replace(facts, thumbhash=placeholder))


def _moments(duration: float | None) -> Iterator[float]:
    """Yield the times, in seconds, of the frames that are tried, the best one first."""
    yield min(1.0, (duration or 0) / 10)
    if duration is not None:
        yield from (min(10.0, duration / 4), min(60.0, duration / 2))


def _frame_at(
    container: InputContainer, stream: VideoStream, moment: float | None
) -> VideoFrame | None:
    """Decode the key frame at or before a time; with None, the first one of the film.

    Returns None if there is no frame that can be decoded.
    """
    context = stream.codec_context
    try:
        if moment is not None:
            container.seek(int(moment * av.time_base) + (container.start_time or 0))
        for number, packet in enumerate(container.demux(stream)):
            if number == MAX_PACKETS:
                break
            if packet.size and not packet.is_keyframe:
                continue
            # A decoder may keep a frame until it gets the next ones. At the end it returns all.
            frames = packet.decode() or (context.decode(None) if packet.size else [])
            for frame in frames:
                assert isinstance(frame, VideoFrame)
                return frame
            context.flush_buffers()
    except FFmpegError:
        pass
    return None


def _shrunk(frame: VideoFrame, size: Size) -> Image.Image:
    """Return a frame as RGB of this size, in its own colour space and orientation."""
    matrix = None
    if frame.colorspace == _UNKNOWN:
        wide, high = _HIGH_DEFINITION
        is_high = frame.width >= wide or frame.height > high
        matrix = Colorspace.ITU709 if is_high else Colorspace.ITU601
    small = frame.reformat(
        *size,
        "rgb24",
        src_colorspace=matrix,
        interpolation=Interpolation.AREA,
        threads=1,
    )
    image: Image.Image = small.to_image()  # type: ignore[no-untyped-call]  # it has no types
    return image


def _orientation(frame: VideoFrame) -> int:
    """Return the orientation of a frame as in Exif; 1 if its angle is not a multiple of 90°."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]  # wrong type
    if data is None:
        return 1
    numbers = memoryview(bytes(data)).cast("i")
    a, b, c, d = ((numbers[at] > 0) - (numbers[at] < 0) for at in (0, 1, 3, 4))
    return _ORIENTATIONS.get((a, b, c, d), 1)
