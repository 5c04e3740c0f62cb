"""Convert pixels of any mode and colour space to 8-bit sRGB, which every screen shows."""

import io
from functools import lru_cache
from typing import Final, TypeGuard

from PIL import Image, ImageChops, ImageCms

from shared.errors import Undecodable
from worker.decoding.inside import hdr
from worker.decoding.inside.colour_spaces import ColourSpace, by_profile, icc_profile

KEPT_PROFILES: Final = 8
"""Number of cached conversions. To build a conversion takes longer than all other work on a small
photo, and most photos have one of a few profiles."""

MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
"""Maximum size, in bytes, of a colour profile. A larger one is ignored. The largest profiles of
printers have about 3 MB."""

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

_GREY_STEPS: Final = {"1": 255, "L;2": 85, "L;4": 17}
"""Factors that scale a PNG's grey values of 1, 2 and 4 bits to the range 0 to 255."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF 6.0, section 8


def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB."""
    return _SRGB.tobytes()


def fit_key_colour(image: Image.Image, raw_mode: object) -> None:
    """Scale a PNG's transparent colour (tRNS) to the bit depth of the decoded pixels."""
    key = image.info.get("transparency")
    if raw_mode == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif raw_mode in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = min(key * _GREY_STEPS[str(raw_mode)], 255)


def plain(image: Image.Image) -> Image.Image:
    """Convert any mode to L, LA, RGB, RGBA or CMYK, in which pixels can be averaged.

    Raises Undecodable with `unsupported` for the modes I and F, because their values have no fixed
    black and white.
    """
    mode = image.mode
    transparent = "transparency" in image.info
    if mode == "CMYK":
        # Adobe's programs store inverted values in a CMYK JPEG, and add a segment of their own.
        # Pillow inverts every CMYK JPEG. If the segment is missing, that is wrong, so invert the
        # image again.
        inverted = image.format == "JPEG" and "adobe" not in image.info
        return ImageChops.invert(image) if inverted else image
    if mode == "RGBA" and image.format == "BMP" and not image.getchannel("A").getbbox():
        # Alpha is 0 everywhere, so the image would be invisible. Most programs ignore such alpha.
        return image.convert("RGB")
    if mode in ("LA", "RGBA") or (mode in ("L", "RGB") and not transparent):
        return image  # `convert` would only copy the image
    if mode.startswith("I;16"):
        return _eight_bits(image, transparent=transparent)
    if mode in ("1", "L"):
        # Turn the transparent colour into alpha now. Later, pixels are averaged, and the averages
        # do not have exactly this colour.
        return image.convert("LA" if transparent else "L")
    if mode in ("P", "PA", "RGB"):
        return image.convert("RGBA" if transparent or mode == "PA" else "RGB")
    if mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    if mode in ("F", "I"):  # modes of measurements: their values may have any range
        raise Undecodable("unsupported")
    return image.convert("RGB")


def _eight_bits(image: Image.Image, *, transparent: bool) -> Image.Image:
    """Convert grey of 12 or 16 bits to L or LA."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    # For 16 bits, the factor is 1/257: 65,535 ÷ 257 = 255 (PNG specification, section 13.12).
    factor = 255 / (2**bits - 1)
    # Pillow cannot calculate with big-endian values. Convert them to mode I and not to I;16,
    # because for I;16, Pillow does not swap their bytes.
    wide = image if image.mode == "I;16" else image.convert("I")
    grey = wide.point(lambda value: value * factor + 0.5).convert("L")
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white; Pillow inverts only 8-bit values
        grey = ImageChops.invert(grey)
    if transparent:
        key = image.info["transparency"]
        table = [0 if value == key else 255 for value in range(65536)]
        grey.putalpha(image.convert("I").point(table, "L"))
    return grey


def to_srgb(image: Image.Image, source: bytes | ColourSpace | None) -> Image.Image:
    """Convert L, LA, RGB, RGBA or CMYK to sRGB. Grey stays grey, and alpha does not change.

    `source` is an ICC profile, a colour space, or None for sRGB. A profile for RGB is also applied
    to a grey image. A profile that is broken, too large, or for another kind of image is ignored.
    Browsers do the same.
    """
    if isinstance(source, bytes):
        source = by_profile(source) or source
    if isinstance(source, ColourSpace):
        if source.is_high_range and image.mode != "CMYK":
            return hdr.to_srgb(image, source)
        is_plain = source.is_srgb or source.is_high_range
        is_grey = image.mode in ("L", "LA")
        profile = None if is_plain else icc_profile(source, grey=is_grey)
    else:
        profile = source
    plain_mode = "RGB" if image.mode == "CMYK" else image.mode
    transform = make_transform(profile, image.mode) if _usable(profile) else None
    if transform is not None:
        try:
            if plain_mode in ("L", "LA"):
                grey = ImageCms.applyTransform(image.getchannel("L"), transform)
                converted = grey.convert("L") if grey is not None else image
                if plain_mode == "LA":
                    converted.putalpha(image.getchannel("A"))
                return converted
            return ImageCms.applyTransform(image, transform) or image
        except ImageCms.PyCMSError:
            pass
    elif image.mode in ("L", "LA") and _usable(profile):
        return _grey_by_rgb(image, profile)
    return image if image.mode == plain_mode else image.convert(plain_mode)


def _grey_by_rgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert L or LA with a profile for RGB; return the image itself if that is impossible."""
    transform = make_transform(profile, "RGB")
    if transform is None:
        return image
    try:
        shown = ImageCms.applyTransform(image.convert("RGB"), transform)
    except ImageCms.PyCMSError:
        return image
    if shown is None:
        return image
    grey = shown.getchannel("G")  # all channels are equal: a screen's profile keeps grey
    if image.mode == "LA":
        grey.putalpha(image.getchannel("A"))
    return grey


def _usable(profile: bytes | None) -> TypeGuard[bytes]:
    return profile is not None and 0 < len(profile) <= MAX_PROFILE_BYTES


@lru_cache(maxsize=KEPT_PROFILES)
def make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion from a profile to sRGB; None if the profile does not fit the mode."""
    # A grey profile has one channel, so the caller converts without alpha. RGB can keep its alpha.
    source_mode = "L" if mode == "LA" else mode
    target_mode = "RGBA" if mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, _SRGB, source_mode, target_mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
