"""Decode a WebP with libwebp's own decoder, which shrinks an image while it decodes.

Pillow's reader always uses libwebp's decoder of animations. That decoder first writes every pixel
with alpha to a canvas, which takes half of the CPU time of a photo. This module calls libwebp
by `ctypes`, in the library that Pillow has loaded. The structures are those of libwebp's
`decode.h`. Their layout is fixed by its ABI version.
"""

import ctypes
from functools import cache
from typing import Any, Final

# `_webp` is private in Pillow. It is linked with libwebp, and nothing else leads to that library.
from PIL import Image, _webp

_ABI: Final = 0x0209
"""WEBP_DECODER_ABI_VERSION. libwebp rejects a caller if the first of the two bytes differs."""

_RGB: Final = 0
_PREMULTIPLIED: Final = 7  # MODE_RGB and MODE_rgbA in WEBP_CSP_MODE
_OK: Final = 0


class _Features(ctypes.Structure):
    """WebPBitstreamFeatures."""

    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("has_alpha", ctypes.c_int),
        ("has_animation", ctypes.c_int),
        ("format", ctypes.c_int),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Packed(ctypes.Structure):
    """WebPRGBABuffer."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


class _Planes(ctypes.Structure):
    """WebPYUVABuffer. It is not used; it gives the union its size."""

    _fields_ = (
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    )


class _Either(ctypes.Union):
    _fields_ = (("packed", _Packed), ("planes", _Planes))


class _Output(ctypes.Structure):
    """WebPDecBuffer."""

    _fields_ = (
        ("mode", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("either", _Either),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    """WebPDecoderOptions."""

    _fields_ = (
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("use_cropping", ctypes.c_int),
        ("crop", ctypes.c_int * 4),
        ("use_scaling", ctypes.c_int),
        ("scaled_width", ctypes.c_int),
        ("scaled_height", ctypes.c_int),
        ("use_threads", ctypes.c_int),
        ("dithering_strength", ctypes.c_int),
        ("flip", ctypes.c_int),
        ("alpha_dithering_strength", ctypes.c_int),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    """WebPDecoderConfig."""

    _fields_ = (("input", _Features), ("output", _Output), ("options", _Options))


@cache
def load() -> Any | None:
    """Return libwebp, or None if its functions are not accessible in this build of Pillow."""
    # A search in a loaded module also finds the functions of the libraries that it is linked with.
    library = ctypes.CDLL(_webp.__file__)
    try:
        for function in (library.WebPInitDecoderConfigInternal, library.WebPDecode):
            function.restype = ctypes.c_int
        library.WebPInitDecoderConfigInternal.argtypes = (ctypes.c_void_p, ctypes.c_int)
        library.WebPGetFeaturesInternal.argtypes = library.WebPDecode.argtypes = (
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
        )
        library.WebPGetFeaturesInternal.argtypes += (ctypes.c_int,)
    except AttributeError:
        return None
    return library


def decode(content: bytes, size: tuple[int, int]) -> Image.Image | None:
    """Decode a still WebP at `size`, in pixels: an RGB image, or RGBA if the file has alpha.

    Returns None for an animation, for a file with any fault, and where libwebp is not accessible.
    """
    library, config = load(), _Config()
    if library is None or not library.WebPInitDecoderConfigInternal(ctypes.byref(config), _ABI):
        return None
    found = ctypes.byref(config.input)
    if library.WebPGetFeaturesInternal(content, len(content), found, _ABI) != _OK:
        return None
    if config.input.has_animation:
        return None
    kind, samples, mode = "RGB", 3, _RGB
    if config.input.has_alpha:
        # libwebp then weights colours by alpha while it shrinks, as Pillow does
        kind, samples, mode = "RGBa", 4, _PREMULTIPLIED
    width, height = size
    pixels = bytearray(width * height * samples)
    config.output.mode = mode
    config.output.is_external_memory = 1
    packed = config.output.either.packed
    packed.pixels = ctypes.addressof((ctypes.c_char * len(pixels)).from_buffer(pixels))
    packed.stride, packed.size = width * samples, len(pixels)
    if size != (config.input.width, config.input.height):
        config.options.use_scaling = 1
        config.options.scaled_width, config.options.scaled_height = size
    if library.WebPDecode(content, len(content), ctypes.byref(config)) != _OK:
        return None
    image = Image.frombuffer(kind, size, pixels, "raw", kind, 0, 1)
    return image.convert("RGBA") if kind == "RGBa" else image
