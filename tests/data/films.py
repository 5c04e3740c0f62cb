"""Tiny films, which FFmpeg makes."""

import io
import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final, cast

import av
from av.video.stream import VideoStream
from PIL import Image

from tests.data.images import quadrants
from tests.data.pieces import box

FRAMES_PER_SECOND: Final = 10


def film(
    kind: str = "mp4",
    codec: str = "mpeg4",
    *,
    frames: Iterable[Image.Image] | None = None,
    seconds: int = 2,
    size: tuple[int, int] = (320, 240),
    rotation: int | None = None,
    mirrored: bool = False,
    aspect: Fraction | None = None,
    colours: tuple[int, int, int] | None = None,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """Make a film of `seconds` that shows quadrants or `frames`. Each second has a key frame.

    `rotation` is counterclockwise in degrees, written as a display matrix. `aspect` is that of a
    pixel. `colours` are code points: matrix, primaries, transfer function.
    """
    file = io.BytesIO()
    shown = [quadrants(*size)] * (seconds * FRAMES_PER_SECOND) if frames is None else frames
    with av.open(file, "w", format=kind, options=dict(options or {})) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=FRAMES_PER_SECOND))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size = FRAMES_PER_SECOND
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation is not None or mirrored:
            stream.set_display_rotation(rotation or 0, hflip=mirrored)
        if colours is not None:
            context.colorspace, context.color_primaries, context.color_trc = colours
        container.start_encoding()  # writes the header even if there is no frame
        for image in shown:
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]  # it has no types
            if colours is not None:
                frame = frame.reformat(format="yuv420p", dst_colorspace=colours[0], threads=1)
                frame.color_primaries, frame.color_trc = colours[1:]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def sound(kind: str = "mp4") -> bytes:
    """Make a film container with a second of silence, and without pictures."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 8000
        for number in range(8):
            frame.pts = 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def noise(seconds: int, size: tuple[int, int] = (320, 240)) -> list[Image.Image]:
    """Draw frames that compress badly."""
    count = seconds * FRAMES_PER_SECOND
    return [Image.effect_noise(size, 80).convert("RGB") for _ in range(count)]


def with_padding(content: bytes, length: int) -> tuple[bytes, bytes, bytes]:
    """Return an MP4 in three parts: start, padding, and end. The end has the track list.

    The padding is an empty box of `length` bytes between the pictures and the track list.
    """
    at = content.index(b"moov") - 4
    header = struct.pack(">I4sQ", 1, b"free", length)
    return content[:at] + header, bytes(length - len(header)), content[at:]


def with_first_frame(moov: bytes, length: int) -> bytes:
    """Return a track list in which the first frame has another length, in bytes."""
    at = moov.index(b"stsz") + 16
    return moov[:at] + struct.pack(">I", length) + moov[at + 4 :]


def without_frames() -> bytes:
    """Return a Matroska file whose track has no frame."""
    return film("matroska", seconds=0)


def boxes_alone() -> bytes:
    """Return an MP4 that has only its first box, and no track list."""
    return box(b"ftyp", b"isom\0\0\2\0isommp42") + box(b"mdat", bytes(99))
