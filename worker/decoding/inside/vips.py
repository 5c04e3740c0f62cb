"""Call libvips for two things: to read the rows of a PNG, and to shrink an image with Lanczos.

All other readers of libvips are blocked. libvips starts no thread, because pixels are computed by
the thread that asks for them. The wheel `pyvips-binary` brings the library, and the module
`_libvips` that calls it. See deploy/docs/decisions/libvips-for-png-and-lanczos.md.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Final

from PIL import Image

from shared.errors import AttachmentsError

_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SAMPLES: Final = {"L": 1, "La": 2, "RGB": 3, "RGBa": 4}
"""The number of samples of a pixel in Pillow's modes. Colours must be weighted by their alpha,
because libvips shrinks each channel separately."""

_BYTES: Final = 0
"""VIPS_FORMAT_UCHAR in libvips' enum VipsBandFormat: a sample is an unsigned byte."""

_READERS: Final = b"VipsForeignLoad"
_PNG_READERS: Final = b"VipsForeignLoadPng"
"""The names of libvips' classes of all readers, and of the readers of PNG."""

_PNG_OPTIONS: Final = "access=sequential,fail_on=error"
"""The rows are read once, from the first to the last. Any fault of the file is an error."""


SHRINK_GAP: Final = 1.5
"""Whole rows and columns are averaged first, as long as the image keeps at least this many times
its final size. Then Lanczos shrinks it. The thumbnail is almost the same as if Lanczos shrank the
whole image: the PSNR is at least 37 dB, and the loss by JPEG is larger."""

STRIP_ROWS: Final = 16
"""The number of rows of a thumbnail that are computed at once."""

Keep = Callable[[Any], Any]
"""A function that releases an object of libvips later. It returns the object, or raises VipsError
for a null pointer."""


class VipsError(AttachmentsError):
    """libvips cannot read a file, or has no memory. The message is the one of libvips."""


@cache
def load() -> Any:
    """Load and start libvips, once for each process. Returns the module that calls it.

    Raises ImportError if the library is missing. Call this before the sandbox is sealed.
    """
    os.environ["VIPS_WARNING"] = "0"  # otherwise warnings about files are printed
    import _libvips  # type: ignore[import-not-found]  # it is compiled, and has no stubs

    library = _libvips.lib
    if library.vips_init(b"decoder") != 0:
        raise ImportError("libvips cannot be started")
    library.vips_cache_set_max(0)  # no result is needed twice
    library.vips_concurrency_set(1)
    library.vips_operation_block_set(_READERS, True)
    library.vips_operation_block_set(_PNG_READERS, False)
    return _libvips


class Rows:
    """An opened PNG, whose rows are decoded in order. Its samples are bytes."""

    def __init__(self, image: Any, keep: Keep) -> None:
        self._image = image
        self._region = keep(load().lib.vips_region_new(image))
        self._keep = keep
        self.size = _header_field(image, b"width"), _header_field(image, b"height")
        samples = _header_field(image, b"bands")
        if _header_field(image, b"format") != _BYTES or samples not in _MODES:
            raise VipsError("the samples are not bytes")
        self.mode = _MODES[samples]

    def read(self, first: int, count: int) -> Image.Image:
        """Decode rows. They must be read in order, and each once. Raises VipsError."""
        width, _ = self.size
        pixels = _fetch(self._region, (0, first, width, count))
        return Image.frombuffer(self.mode, (width, count), pixels, "raw", self.mode, 0, 1)

    def shrink(self, size: tuple[int, int]) -> Image.Image:
        """Decode the image and shrink it to `size` with Lanczos. Raises VipsError.

        The image must have no alpha, because libvips shrinks each channel separately.
        """
        small = Rows(_reduced(self._keep, self._image, self.size, size), self._keep)
        if small.size != size:
            raise VipsError("the size differs")
        whole = Image.new(self.mode, size)
        for top in range(0, size[1], STRIP_ROWS):
            whole.paste(small.read(top, min(STRIP_ROWS, size[1] - top)), (0, top))
        return whole


@contextmanager
def open_png(content: bytes) -> Iterator[Rows]:
    """Open a PNG for the block. Raises VipsError if its header cannot be read."""
    module = load()
    module.lib.vips_error_clear()
    with ExitStack() as stack:
        keep = _keeper(stack)
        data = stack.enter_context(module.ffi.from_buffer(content))
        source = keep(module.lib.vips_source_new_from_memory(data, len(content)))
        image = _result(keep, b"pngload_source", b"source", b"VipsSource", source, _PNG_OPTIONS)
        yield Rows(image, keep)


def can_shrink(image: Image.Image) -> bool:
    """Return True if `lanczos` accepts an image in this mode."""
    return image.mode in _SAMPLES


def lanczos(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Shrink an image to `size` with Lanczos, as Pillow's `resize` does it.

    Takes a third of Pillow's CPU time, because libvips computes several pixels at once. Raises
    VipsError.
    """
    module = load()
    ffi, library = module.ffi, module.lib
    library.vips_error_clear()
    with ExitStack() as stack:
        keep = _keeper(stack)
        content = image.tobytes()
        data = stack.enter_context(ffi.from_buffer(content))
        whole = keep(
            library.vips_image_new_from_memory(
                data, len(content), *image.size, _SAMPLES[image.mode], _BYTES
            )
        )
        small = _reduced(keep, whole, image.size, size)
        if (_header_field(small, b"width"), _header_field(small, b"height")) != size:
            raise VipsError("the size differs")
        pixels = _fetch(keep(library.vips_region_new(small)), (0, 0, *size))
    return Image.frombytes(image.mode, size, pixels)


def _reduced(keep: Keep, image: Any, original: tuple[int, int], size: tuple[int, int]) -> Any:
    """Return an image of libvips that computes another one at a smaller size."""
    across, down = (full / small for full, small in zip(original, size, strict=True))
    options = f"hshrink={across!r},vshrink={down!r},kernel=lanczos3,gap={SHRINK_GAP}"
    return _result(keep, b"reduce", b"in", b"VipsImage", image, options)


def _result(
    keep: Keep, name: bytes, input_name: bytes, kind: bytes, given: Any, options: str
) -> Any:
    """Build an operation of libvips with one input, and return its output image."""
    module = load()
    ffi, library = module.ffi, module.lib
    operation = library.vips_operation_new(name)
    if operation == ffi.NULL:
        raise VipsError(_message())
    try:
        with _value(kind) as value:
            library.g_value_set_object(value, given)
            library.g_object_set_property(ffi.cast("GObject *", operation), input_name, value)
        if library.vips_object_set_from_string(
            ffi.cast("VipsObject *", operation), options.encode()
        ):
            raise VipsError(_message())
        built = keep(library.vips_cache_operation_build(operation))
    finally:
        library.g_object_unref(operation)
    with _value(b"VipsImage") as value:
        library.g_object_get_property(ffi.cast("GObject *", built), b"out", value)
        image = ffi.cast("VipsImage *", library.g_value_get_object(value))
        library.g_object_ref(image)
    library.vips_object_unref_outputs(ffi.cast("VipsObject *", built))
    return keep(image)


def _keeper(stack: ExitStack) -> Keep:
    """Return a function that releases objects when the stack is closed."""
    module = load()

    def keep(thing: Any) -> Any:
        if thing == module.ffi.NULL:
            raise VipsError(_message())
        stack.callback(module.lib.g_object_unref, thing)
        return thing

    return keep


def _fetch(region: Any, rectangle: tuple[int, int, int, int]) -> bytes:
    """Compute the pixels of a rectangle: left, top, width, height. Raises VipsError."""
    module = load()
    length = module.ffi.new("size_t *")
    pixels = module.lib.vips_region_fetch(region, *rectangle, length)
    if pixels == module.ffi.NULL:
        raise VipsError(_message())
    try:
        return bytes(module.ffi.buffer(pixels, length[0]))
    finally:
        module.lib.g_free(pixels)


@contextmanager
def _value(kind: bytes) -> Iterator[Any]:
    """Return an empty value of one of GLib's types, and free it after the block."""
    module = load()
    value = module.ffi.new("GValue *")
    module.lib.g_value_init(value, module.lib.g_type_from_name(kind))
    try:
        yield value
    finally:
        module.lib.g_value_unset(value)


def _header_field(image: Any, name: bytes) -> int:
    module = load()
    value = module.ffi.new("GValue *")
    if module.lib.vips_image_get(image, name, value) != 0:
        raise VipsError(_message())
    try:
        if name == b"format":
            return int(module.lib.g_value_get_enum(value))
        return int(module.lib.g_value_get_int(value))
    finally:
        module.lib.g_value_unset(value)


def _message() -> str:
    module = load()
    text: bytes = module.ffi.string(module.lib.vips_error_buffer())
    module.lib.vips_error_clear()
    return text.decode(errors="replace").strip()
