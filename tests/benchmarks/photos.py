"""Photos that code draws: smooth noise with grain, which compresses like a real photo."""

import io
from dataclasses import dataclass
from random import Random
from typing import Final

from PIL import Image

SEED: Final = 20260418


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A JPEG, and its name in the tables."""

    name: str
    content: bytes

    @property
    def title(self) -> str:
        """Return the name and the file size of the photo."""
        return f"{self.name}, {len(self.content) / 1e3:,.0f} kB"


def picture(width: int, height: int) -> Image.Image:
    """Draw an image of this size in pixels; every call returns the same image."""
    random = Random(SEED)
    coarse = (max(width // 16, 1), max(height // 16, 1))

    def smooth() -> Image.Image:
        noise = Image.frombytes("L", coarse, random.randbytes(coarse[0] * coarse[1]))
        return noise.resize((width, height), Image.Resampling.BICUBIC)

    colours = Image.merge("RGB", [smooth(), smooth(), smooth()])
    grain = Image.frombytes("L", (width, height), random.randbytes(width * height))
    return Image.blend(colours, Image.merge("RGB", [grain] * 3), 0.03)


def draw(width: int, height: int, *, quality: int) -> bytes:
    """Draw a JPEG of this size in pixels; every call returns the same JPEG."""
    file = io.BytesIO()
    picture(width, height).save(file, "JPEG", quality=quality)
    return file.getvalue()


def small_photo() -> Photo:
    """Return a photo of the size that messenger apps send: about 200 kB."""
    return Photo(name="1200×900", content=draw(1200, 900, quality=84))


def large_photo() -> Photo:
    """Return a photo as telephones take it: 13 megapixels, about 3 MB."""
    return Photo(name="4160×3120", content=draw(4160, 3120, quality=89))
