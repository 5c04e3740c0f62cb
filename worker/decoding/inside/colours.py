"""Pixels of any mode and any colour space to 8 bits of sRGB: what every screen shows."""

import io
from functools import lru_cache
from typing import Final

from PIL import Image, ImageChops, ImageCms

from shared.errors import Undecodable

KEPT_PROFILES: Final = 8
"""Conversions that are kept ready: making one takes longer than all else that is done to a small
photo, and the world's photos have a handful of profiles."""

MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
"""A colour profile larger than that is ignored; the largest of printers have about 3 MB."""

_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

_GREY_STEPS: Final = {"1": 255, "L;2": 85, "L;4": 17}
"""How PNG's grey of 1, 2 and 4 bits is spread over 0 to 255."""

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF 6.0, section 8


def srgb_profile() -> bytes:
    """Give sRGB as a profile that may stand in a file."""
    return _SRGB.tobytes()


def fit_key_colour(image: Image.Image, raw_mode: object) -> None:
    """Bring a PNG's one transparent colour, as stored, to the depth that its pixels will have."""
    key = image.info.get("transparency")
    if raw_mode == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif raw_mode in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = min(key * _GREY_STEPS[str(raw_mode)], 255)


def plain(image: Image.Image) -> Image.Image:
    """Bring any mode to L, LA, RGB, RGBA or CMYK, in which averaging pixels means something.

    Raises Undecodable with `unsupported` for numbers that are not brightness from black to white.
    """
    mode = image.mode
    transparent = "transparency" in image.info
    if mode == "CMYK":
        # Adobe stores ink the other way round, and says who it is; Pillow takes that for granted.
        inverted = image.format == "JPEG" and "adobe" not in image.info
        return ImageChops.invert(image) if inverted else image
    if mode in ("LA", "RGBA") or (mode in ("L", "RGB") and not transparent):
        return image  # converting would copy it
    if mode.startswith("I;16"):
        return _eight_bits(image, transparent=transparent)
    if mode in ("1", "L"):
        # the key colour is that of all bands, so it is compared before anything is averaged
        return image.convert("LA" if transparent else "L")
    if mode in ("P", "PA", "RGB"):
        return image.convert("RGBA" if transparent or mode == "PA" else "RGB")
    if mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    if mode in ("F", "I"):  # measurements, of any range
        raise Undecodable("unsupported")
    return image.convert("RGB")


def _eight_bits(image: Image.Image, *, transparent: bool) -> Image.Image:
    """Bring grey of 12 or 16 bits to L or LA."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    # 65,535 ÷ 257 is 255 (PNG specification, section 13.12)
    factor = 255 / (2**bits - 1)
    # Pillow cannot reckon with big-endian ones, and does not turn them round on the way to I;16
    wide = image if image.mode == "I;16" else image.convert("I")
    grey = wide.point(lambda value: value * factor + 0.5).convert("L")
    if tags.get(_PHOTOMETRIC) == 0:  # white is 0, which Pillow minds for 8 bits only
        grey = ImageChops.invert(grey)
    if transparent:
        key = image.info["transparency"]
        table = [0 if value == key else 255 for value in range(65536)]
        grey.putalpha(image.convert("I").point(table, "L"))
    return grey


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert L, LA, RGB, RGBA or CMYK to sRGB; grey stays grey, alpha stays as it is.

    A profile that is broken, too large or of another kind of image is ignored, as browsers do.
    """
    plain_mode = "RGB" if image.mode == "CMYK" else image.mode
    transform = _transform(profile, image.mode) if _usable(profile) else None
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
    return image if image.mode == plain_mode else image.convert(plain_mode)


def _usable(profile: object) -> bool:
    return isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES


@lru_cache(maxsize=KEPT_PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Prepare the way from a profile to sRGB; None if that profile is not for such an image."""
    # Grey profiles know one channel, so alpha is put aside; in RGB it is carried over.
    source_mode = "L" if mode == "LA" else mode
    target_mode = "RGBA" if mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, _SRGB, source_mode, target_mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
