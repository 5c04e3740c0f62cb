"""Call the libjxl that is bundled in the wheel of imagecodecs, through ctypes.

imagecodecs' own function returns pixels without their colour profile, returns nothing of a file
that is cut off, and needs NumPy. Here, NumPy is not imported. libjxl gets no function that runs
threads, so it decodes in the calling thread. Sources: `jxl/decode.h`, `jxl/codestream_header.h`,
`jxl/types.h` of libjxl 0.11.
"""

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final

from shared.errors import Undecodable

VERSION: Final = 11
"""The minor version of libjxl that has the structures below. Before libjxl 1.0, another minor
version may have other structures."""

PIECE_BYTES: Final = 1024 * 1024
"""Number of bytes of a file that libjxl gets at a time."""

_SUCCESS, _ERROR, _NEEDS_INPUT, _NEEDS_BUFFER = 0, 1, 2, 5
_BASIC_INFO, _COLOURS, _WHOLE_FRAME = 0x40, 0x100, 0x1000
_OF_PIXELS: Final = 1  # JXL_COLOR_PROFILE_TARGET_DATA
BYTES: Final = 2  # JXL_TYPE_UINT8
BLACK: Final = 4  # JXL_CHANNEL_BLACK
_PQ, _HLG = 16, 18  # JXL_TRANSFER_FUNCTION_PQ, JXL_TRANSFER_FUNCTION_HLG

MAX_CHANNELS: Final = 4
"""Maximum number of extra channels, such as alpha. An image with more is not decoded."""


class Info(ctypes.Structure):
    """libjxl's `JxlBasicInfo`. The size is that of the upright image, in pixels."""

    width: int
    height: int
    color_channels: int
    extra_channels: int
    alpha_bits: int
    keeps_profile: int

    _fields_ = (
        ("has_container", ctypes.c_int),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("bits", ctypes.c_uint32),
        ("exponent_bits", ctypes.c_uint32),
        ("intensity_target", ctypes.c_float),
        ("min_nits", ctypes.c_float),
        ("relative_to_max_display", ctypes.c_int),
        ("linear_below", ctypes.c_float),
        ("keeps_profile", ctypes.c_int),
        ("has_preview", ctypes.c_int),
        ("is_animated", ctypes.c_int),
        ("orientation", ctypes.c_int),
        ("color_channels", ctypes.c_uint32),
        ("extra_channels", ctypes.c_uint32),
        ("alpha_bits", ctypes.c_uint32),
        ("alpha_exponent_bits", ctypes.c_uint32),
        ("alpha_premultiplied", ctypes.c_int),
        ("others", ctypes.c_uint32 * 8),
        ("padding", ctypes.c_uint8 * 100),
    )


class Channel(ctypes.Structure):
    """libjxl's `JxlExtraChannelInfo`. Only the kind is read."""

    kind: int

    _fields_ = (("kind", ctypes.c_int), ("others", ctypes.c_uint32 * 10))


class Encoding(ctypes.Structure):
    """libjxl's `JxlColorEncoding`."""

    space: int
    white: int
    primaries: int
    transfer: int

    _fields_ = (
        ("space", ctypes.c_int),
        ("white", ctypes.c_int),
        ("white_xy", ctypes.c_double * 2),
        ("primaries", ctypes.c_int),
        ("primaries_xy", ctypes.c_double * 6),
        ("transfer", ctypes.c_int),
        ("gamma", ctypes.c_double),
        ("intent", ctypes.c_int),
    )

    @property
    def is_srgb(self) -> bool:
        """True for the white (D65), primaries and transfer function of sRGB; also for grey."""
        of_colours = self.primaries if self.space == 0 else 1  # grey has no primaries
        return (self.white, of_colours, self.transfer) == (1, 1, 13)


class Layout(ctypes.Structure):
    """libjxl's `JxlPixelFormat`."""

    _fields_ = (
        ("channels", ctypes.c_uint32),
        ("kind", ctypes.c_int),
        ("endianness", ctypes.c_int),
        ("align", ctypes.c_size_t),
    )


def _load() -> ctypes.CDLL:
    spec = find_spec("imagecodecs")  # the package itself is not imported
    if spec is None or spec.origin is None:
        raise ImportError("the decoder of JPEG XL is not installed: make install EXTRAS=jxl")
    # The wheel gives libjxl another file name in each release. This module of the wheel always
    # loads it, and its symbols are found through this module.
    (module,) = Path(spec.origin).parent.glob("_jpegxl.*so")
    library = ctypes.CDLL(str(module))
    if library.JxlDecoderVersion() // 1000 != VERSION:
        raise ImportError(f"libjxl 0.{VERSION} is needed")
    handle, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    for name, *arguments in (
        ("JxlDecoderSubscribeEvents", number),
        ("JxlDecoderSetUnpremultiplyAlpha", number),
        ("JxlDecoderSetInput", ctypes.c_char_p, size),
        ("JxlDecoderProcessInput",),
        ("JxlDecoderFlushImage",),
        ("JxlDecoderGetBasicInfo", ctypes.POINTER(Info)),
        ("JxlDecoderGetExtraChannelInfo", size, ctypes.POINTER(Channel)),
        ("JxlDecoderGetColorAsEncodedProfile", number, ctypes.POINTER(Encoding)),
        ("JxlDecoderSetPreferredColorProfile", ctypes.POINTER(Encoding)),
        ("JxlDecoderGetICCProfileSize", number, ctypes.POINTER(size)),
        ("JxlDecoderGetColorAsICCProfile", number, ctypes.c_char_p, size),
        ("JxlDecoderSetImageOutBuffer", ctypes.POINTER(Layout), ctypes.c_char_p, size),
    ):
        getattr(library, name).argtypes = [handle, *arguments]
    library.JxlDecoderCreate.argtypes = [ctypes.c_void_p]
    library.JxlDecoderCreate.restype = handle
    for name, result in (("JxlDecoderReleaseInput", size), ("JxlDecoderDestroy", None)):
        getattr(library, name).argtypes = [handle]
        getattr(library, name).restype = result
    library.JxlColorEncodingSetToSRGB.argtypes = [ctypes.POINTER(Encoding), number]
    library.JxlColorEncodingSetToSRGB.restype = None
    return library


LIBRARY: Final = _load()


class Decoder:
    """Decodes the first frame of a JPEG XL file: first its header, then its pixels.

    The image is upright, because libjxl applies the orientation. libjxl's memory is freed together
    with this object.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""
        self._handle = LIBRARY.JxlDecoderCreate(None)
        if not self._handle:
            raise MemoryError
        self.info = Info()
        self.profile: bytes | None = None

    def __del__(self) -> None:
        if self._handle:
            LIBRARY.JxlDecoderDestroy(self._handle)

    def read_header(self) -> None:
        """Read `info`. Raises Undecodable: `unsupported` for many channels, else `damaged`."""
        self._call("SubscribeEvents", _BASIC_INFO | _COLOURS | _WHOLE_FRAME)
        self._call("SetUnpremultiplyAlpha", 1)
        self._await(_BASIC_INFO)
        self._call("GetBasicInfo", ctypes.byref(self.info))
        if self.info.extra_channels > MAX_CHANNELS:
            raise Undecodable("unsupported")

    def read_profile(self) -> None:
        """Read the ICC `profile` that the pixels will have; it stays None for sRGB.

        Raises Undecodable: `unsupported` for an image with black ink, else `damaged`.
        """
        self._await(_COLOURS)
        channel = Channel()
        for number in range(self.info.extra_channels):
            self._call("GetExtraChannelInfo", number, ctypes.byref(channel))
            if channel.kind == BLACK:
                raise Undecodable("unsupported")
        self._prefer_srgb()
        encoding = Encoding()
        if self._has_encoding(encoding) and encoding.is_srgb:
            return
        length = ctypes.c_size_t()
        self._call("GetICCProfileSize", _OF_PIXELS, ctypes.byref(length))
        profile = ctypes.create_string_buffer(length.value)
        self._call("GetColorAsICCProfile", _OF_PIXELS, profile, length)
        self.profile = profile.raw

    def _prefer_srgb(self) -> None:
        """Let libjxl decode a lossy image to sRGB. Its pixels have no colour space of their own.

        An image of high range keeps its space, because libjxl would cut off its bright parts.
        """
        encoding = Encoding()
        is_high = self._has_encoding(encoding) and encoding.transfer in (_PQ, _HLG)
        if self.info.keeps_profile or is_high:
            return
        LIBRARY.JxlColorEncodingSetToSRGB(ctypes.byref(encoding), self.info.color_channels == 1)
        LIBRARY.JxlDecoderSetPreferredColorProfile(self._handle, ctypes.byref(encoding))

    def _has_encoding(self, encoding: Encoding) -> bool:
        """Read the colour space of the pixels, if it is not only given by an ICC profile."""
        arguments = (_OF_PIXELS, ctypes.byref(encoding))
        status: int = LIBRARY.JxlDecoderGetColorAsEncodedProfile(self._handle, *arguments)
        return status == _SUCCESS

    @property
    def channels(self) -> int:
        """The number of channels of the pixels: 1 or 3, and one more for alpha."""
        return (1 if self.info.color_channels == 1 else 3) + (self.info.alpha_bits > 0)

    def decode(self) -> tuple[memoryview, bool]:
        """Return the pixels of the first frame, a byte for each channel, and whether it is whole.

        If the frame is cut off, libjxl returns a coarse image of the data that it has. Raises
        Undecodable if it has too little.
        """
        self._await(_NEEDS_BUFFER)
        layout = Layout(self.channels, BYTES, 0, 0)
        pixels = ctypes.create_string_buffer(self.info.width * self.info.height * self.channels)
        self._call("SetImageOutBuffer", ctypes.byref(layout), pixels, len(pixels))
        try:
            self._await(_WHOLE_FRAME)
        except Undecodable:
            self._call("FlushImage")
            return memoryview(pixels), False
        return memoryview(pixels), True

    def _await(self, event: int) -> None:
        """Give libjxl bytes of the file until it reports `event`. Raises Undecodable."""
        while (status := LIBRARY.JxlDecoderProcessInput(self._handle)) != event:
            if status != _NEEDS_INPUT:
                raise Undecodable("damaged")
            left = LIBRARY.JxlDecoderReleaseInput(self._handle)
            more = self._file.read(PIECE_BYTES)
            if not more:
                raise Undecodable("damaged")
            # libjxl reads these bytes later, so they must stay in memory
            self._rest = self._rest[len(self._rest) - left :] + more
            self._call("SetInput", self._rest, len(self._rest))

    def _call(self, name: str, *arguments: object) -> None:
        """Call a function of the decoder. Raises Undecodable if it fails."""
        function: Callable[..., int] = getattr(LIBRARY, f"JxlDecoder{name}")
        if function(self._handle, *arguments) != _SUCCESS:
            raise Undecodable("damaged")
