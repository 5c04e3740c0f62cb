"""JPEG XL files, which the encoder of libjxl makes."""

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from PIL import Image

from worker.decoding.inside.libjxl import BYTES, LIBRARY, Channel, Encoding, Info, Layout

EFFORT, PROGRESSIVE = 0, 17  # JXL_ENC_FRAME_SETTING_EFFORT, JXL_ENC_FRAME_SETTING_PROGRESSIVE_AC
OUTPUT_BYTES: Final = 1 << 20


class FrameHeader(ctypes.Structure):
    """libjxl's `JxlFrameHeader`. Only its duration is set."""

    _fields_ = (("duration", ctypes.c_uint32), ("others", ctypes.c_uint32 * 30))


def call(name: str, *arguments: Any) -> None:
    """Call a function of libjxl, and assert that it succeeds."""
    assert getattr(LIBRARY, f"JxlEncoder{name}")(*arguments) == 0, name


def new_encoder() -> ctypes.c_void_p:
    LIBRARY.JxlEncoderCreate.restype = ctypes.c_void_p
    LIBRARY.JxlEncoderFrameSettingsCreate.restype = ctypes.c_void_p
    return ctypes.c_void_p(LIBRARY.JxlEncoderCreate(None))


def finish(encoder: ctypes.c_void_p) -> bytes:
    """Return the bytes of the file, and free the encoder."""
    LIBRARY.JxlEncoderCloseInput(encoder)
    made, status = b"", 2
    while status == 2:  # the file is longer than the buffer
        buffer = ctypes.create_string_buffer(OUTPUT_BYTES)
        place, left = ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_size_t(OUTPUT_BYTES)
        status = LIBRARY.JxlEncoderProcessOutput(encoder, ctypes.byref(place), ctypes.byref(left))
        made += buffer.raw[: OUTPUT_BYTES - left.value]
    assert status == 0
    LIBRARY.JxlEncoderDestroy(encoder)
    return made


def encode(
    *frames: Image.Image,
    distance: float = 1.0,
    container: bool = False,
    orientation: int = 1,
    profile: bytes | None = None,
    code_points: tuple[int, int, int] | None = None,
    black: bool = False,
    progressive: bool = False,
) -> bytes:
    """Encode images as JPEG XL. Several images make an animation.

    A `distance` of 0 is lossless. `orientation` is written into the header, and the pixels are not
    turned. `code_points` are libjxl's numbers of the white point, the primaries and the transfer
    function. With `black`, there is a channel of black ink.
    """
    first = frames[0]
    bands, alpha = len(first.getbands()), "A" in first.mode
    encoder = new_encoder()
    call("UseContainer", encoder, int(container))
    info = Info()
    LIBRARY.JxlEncoderInitBasicInfo(ctypes.byref(info))
    info.width, info.height = first.size
    info.color_channels, info.extra_channels = bands - alpha, alpha + black
    info.alpha_bits = 8 * alpha
    info.keeps_profile = int(distance == 0)
    info.orientation = orientation
    if len(frames) > 1:
        info.is_animated = 1
        info.others[2], info.others[3] = 10, 1  # frames per second
    call("SetBasicInfo", encoder, ctypes.byref(info))
    if black:
        channel = Channel()
        LIBRARY.JxlEncoderInitExtraChannelInfo(4, ctypes.byref(channel))
        call("SetExtraChannelInfo", encoder, ctypes.c_size_t(int(alpha)), ctypes.byref(channel))
    if profile is None:
        encoding = Encoding()
        LIBRARY.JxlColorEncodingSetToSRGB(ctypes.byref(encoding), int(bands - alpha == 1))
        if code_points is not None:
            encoding.white, encoding.primaries, encoding.transfer = code_points
        call("SetColorEncoding", encoder, ctypes.byref(encoding))
    else:
        call("SetICCProfile", encoder, profile, ctypes.c_size_t(len(profile)))
    settings = ctypes.c_void_p(LIBRARY.JxlEncoderFrameSettingsCreate(encoder, None))
    call("SetFrameDistance", settings, ctypes.c_float(distance))
    call("SetFrameLossless", settings, int(distance == 0))
    call("FrameSettingsSetOption", settings, EFFORT, ctypes.c_int64(3))
    if progressive:
        call("FrameSettingsSetOption", settings, PROGRESSIVE, ctypes.c_int64(1))
    if len(frames) > 1:
        header = FrameHeader()
        LIBRARY.JxlEncoderInitFrameHeader(ctypes.byref(header))
        header.duration = 1
        call("SetFrameHeader", settings, ctypes.byref(header))
    _add(settings, frames, bands, black=black)
    return finish(encoder)


def _add(
    settings: ctypes.c_void_p, frames: Sequence[Image.Image], bands: int, *, black: bool
) -> None:
    layout = Layout(bands, BYTES, 0, 0)
    for frame in frames:
        pixels = frame.tobytes()
        size = ctypes.c_size_t(len(pixels))
        call("AddImageFrame", settings, ctypes.byref(layout), pixels, size)
        if black:
            ink = bytes(frame.width * frame.height)
            one = Layout(1, BYTES, 0, 0)
            size = ctypes.c_size_t(len(ink))
            call("SetExtraChannelBuffer", settings, ctypes.byref(one), ink, size, 0)


def from_jpeg(jpeg: bytes) -> bytes:
    """Pack a JPEG into a JPEG XL without loss."""
    encoder = new_encoder()
    call("UseContainer", encoder, 1)
    call("StoreJPEGMetadata", encoder, 1)
    settings = ctypes.c_void_p(LIBRARY.JxlEncoderFrameSettingsCreate(encoder, None))
    call("AddJPEGFrame", settings, jpeg, ctypes.c_size_t(len(jpeg)))
    return finish(encoder)
