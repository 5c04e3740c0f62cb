"""Compare the pixels of two images."""

import math

from PIL import Image, ImageChops, ImageStat


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return the PSNR of two images of the same mode and size, in dB; 99 for equal images.

    Colours are weighted by alpha first, because the colour of a transparent pixel is not seen.
    """
    weighted = {"LA": "La", "RGBA": "RGBa"}.get(one.mode, one.mode)
    channels = zip(one.convert(weighted).split(), other.convert(weighted).split(), strict=True)
    found = [ImageStat.Stat(ImageChops.difference(*pair)) for pair in channels]
    mean = sum(stat.sum2[0] for stat in found) / sum(stat.count[0] for stat in found)
    return 99.0 if mean == 0 else 10 * math.log10(255**2 / mean)
