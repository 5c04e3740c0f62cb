"""Read the directories of a TIFF, to identify camera raws and to find an image's size.

Source: TIFF 6.0, section 2; BigTIFF; DNG 1.7, chapter 4; Exif 3.0, section 4.6. Only numbers at
offsets that the format defines are read, from bytes that the worker has anyway.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Size = tuple[int, int]

MAX_ENTRIES: Final = 512
"""Maximum number of entries of one directory that are read. Cameras write about 50."""

_MAX_DIRECTORIES: Final = 16

WIDTH, HEIGHT, PHOTOMETRIC, MAKE, ORIENTATION = 256, 257, 262, 271, 274
_SUBFILES, _EXIF = 330, 34665
_EXIF_WIDTH, _EXIF_HEIGHT = 40962, 40963
_DNG_VERSION, _DNG_CROP = 50706, 50720
_COLOUR_FILTER, _LINEAR = 32803, 34892
"""The values of the tag PhotometricInterpretation that mark data of a camera's sensor (DNG 1.7,
chapter 4)."""

DNG: Final = "image/x-adobe-dng"
OTHER_RAW: Final = "image/x-dcraw"
_CR2: Final = "image/x-canon-cr2"

_MAKERS: Final = {
    "nikon": "image/x-nikon-nef",
    "sony": "image/x-sony-arw",
    "pentax": "image/x-pentax-pef",
    "ricoh": "image/x-pentax-pef",
    "samsung": "image/x-samsung-srw",
    "hasselblad": "image/x-hasselblad-3fr",
    "seiko epson": "image/x-epson-erf",
    "eastman kodak": "image/x-kodak-dcr",
    "kodak": "image/x-kodak-dcr",
    "mamiya": "image/x-mamiya-mef",
    "leaf": "image/x-leaf-mos",
    "phase one": "image/x-phaseone-iiq",
}
"""Types of camera raws by the beginning of the camera maker's name (tag 271), in lower case."""

_MAGIC: Final = {
    b"IIU\0": "image/x-panasonic-rw2",
    b"IIRO": "image/x-olympus-orf",
    b"IIRS": "image/x-olympus-orf",
    b"MMOR": "image/x-olympus-orf",
}
RAWS: Final = frozenset({DNG, OTHER_RAW, _CR2, *_MAKERS.values(), *_MAGIC.values()})
"""Types of camera raws whose structure is that of TIFF."""

_FORMS: Final = {1: "B", 3: "H", 4: "I", 9: "i", 13: "I", 16: "Q", 18: "Q"}
"""The format characters of `struct` for the field types that contain integers (TIFF 6.0, page 15;
BigTIFF)."""
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    at: int


class _Directory(dict[int, _Entry]):
    """The entries of one directory by their tags."""


class _Tiff:
    """The head of a TIFF. Methods raise struct.error if the bytes end before a number."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.order = "<" if head.startswith(b"II") else ">"
        self.big = self.read("H", 2) == 43
        self.first = self.read("Q" if self.big else "I", 8 if self.big else 4)

    def read(self, form: str, at: int) -> int:
        (value,) = struct.unpack_from(self.order + form, self.head, at)
        return int(value)

    def directory(self, at: int) -> tuple[_Directory, int]:
        """Return a directory's entries and the offset of the next directory, 0 if there is none."""
        count = self.read("Q" if self.big else "H", at)
        at += 8 if self.big else 2
        width = 20 if self.big else 12
        found = _Directory()
        for start in range(at, at + min(count, MAX_ENTRIES) * width, width):
            tag, kind = struct.unpack_from(f"{self.order}HH", self.head, start)
            values = self.read("Q" if self.big else "I", start + 4)
            inline = _BYTES.get(kind, 1) * values <= (8 if self.big else 4)
            value_at = start + (12 if self.big else 8)
            if not inline:
                value_at = self.read("Q" if self.big else "I", value_at)
            found[tag] = _Entry(kind, values, value_at)
        end = at + min(count, MAX_ENTRIES) * width
        try:
            return found, self.read("Q" if self.big else "I", end)
        except struct.error:
            return found, 0

    def numbers(self, directory: _Directory, tag: int, most: int = 8) -> list[int]:
        """Return the whole numbers of a field, at most `most` of them; empty if there are none."""
        entry = directory.get(tag)
        if entry is None:
            return []
        if entry.kind == 5:  # fractions
            pairs = struct.unpack_from(
                f"{self.order}{2 * min(entry.count, most)}I", self.head, entry.at
            )
            return [a // b if b else 0 for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        form = _FORMS.get(entry.kind)
        if form is None:
            return []
        return list(
            struct.unpack_from(f"{self.order}{min(entry.count, most)}{form}", self.head, entry.at)
        )

    def number(self, directory: _Directory, tag: int, otherwise: int = 0) -> int:
        return next(iter(self.numbers(directory, tag, 1)), otherwise)

    def text(self, directory: _Directory, tag: int) -> str:
        entry = directory.get(tag)
        if entry is None or entry.kind != 2:
            return ""
        raw = self.head[entry.at : entry.at + min(entry.count, 100)]
        return raw.partition(b"\0")[0].decode("latin-1").strip().lower()

    def directories(self) -> Iterator[_Directory]:
        """Yield the first directory, the following ones, and their subfiles.

        A directory that is not completely in the head is left out.
        """
        ahead, seen = [self.first], set[int]()
        while ahead and len(seen) < _MAX_DIRECTORIES:
            at = ahead.pop(0)
            if at == 0 or at in seen:
                continue
            seen.add(at)
            try:
                found, following = self.directory(at)
            except struct.error:
                continue
            yield found
            try:
                ahead += [*self.numbers(found, _SUBFILES), following]
            except struct.error:
                ahead.append(following)


def identify_raw(head: bytes) -> str | None:
    """Return the type of a camera raw by the `head` of a file; None for all other files.

    A TIFF is a camera raw if one of its directories says that it contains data of a sensor, or if
    the file gives a version of DNG. Never raises for any bytes.
    """
    if (named := _MAGIC.get(head[:4])) is not None:
        return named
    if not head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return None
    if head[8:10] == b"CR":
        return _CR2
    if head[8:12] in (b"IIII", b"MMMM"):
        return _MAKERS["phase one"]
    try:
        tiff = _Tiff(head)
        directories = list(tiff.directories())
        if not directories:
            return None
        if _DNG_VERSION in directories[0]:
            return DNG
        if any(_is_sensor(tiff, each) for each in directories):
            maker = tiff.text(directories[0], MAKE)
            return next((t for name, t in _MAKERS.items() if maker.startswith(name)), OTHER_RAW)
    except (struct.error, OverflowError):
        pass  # the bytes end before the numbers
    return None


def _is_sensor(tiff: _Tiff, directory: _Directory) -> bool:
    return tiff.number(directory, PHOTOMETRIC) in (_COLOUR_FILTER, _LINEAR)


def tiff_size(head: bytes) -> Size:
    """Return the width and height of the first image in a TIFF or BigTIFF, after rotation.

    Raises struct.error if the head ends before the numbers.
    """
    tiff = _Tiff(head)
    first, _ = tiff.directory(tiff.first)
    return _upright(tiff, first, (tiff.number(first, WIDTH), tiff.number(first, HEIGHT)))


def raw_size(head: bytes) -> Size | None:
    """Return the width and height of the main picture in a camera raw, after rotation.

    Uses the crop of DNG if there is one, otherwise Exif's size if there is one, otherwise the
    directory with the sensor's data. Returns None if the head does not contain the size. Raises
    struct.error if the head ends before the numbers.
    """
    tiff = _Tiff(head)
    if head.startswith(b"IIU\0"):
        return _panasonic_size(tiff)
    directories = list(tiff.directories())
    if not directories:
        return None
    first = directories[0]
    for each in directories:
        if len(crop := tiff.numbers(each, _DNG_CROP)) == 2:
            return _upright(tiff, first, (crop[0], crop[1]))
    if exif_at := tiff.number(first, _EXIF):
        exif, _ = tiff.directory(exif_at)
        size = tiff.number(exif, _EXIF_WIDTH), tiff.number(exif, _EXIF_HEIGHT)
        if all(size):
            return _upright(tiff, first, size)
    sensors = [each for each in directories if _is_sensor(tiff, each)]
    if head.startswith((b"IIR", b"MMO")):
        sensors = directories[:1]
    sizes = [(tiff.number(each, WIDTH), tiff.number(each, HEIGHT)) for each in sensors]
    largest = max(sizes, key=lambda size: size[0] * size[1], default=None)
    return largest and _upright(tiff, first, largest)


def _panasonic_size(tiff: _Tiff) -> Size:
    """Return the size between the sensor's borders: tags 4 to 7 are top, left, bottom, right."""
    first, _ = tiff.directory(tiff.first)
    top, left, bottom, right = (tiff.number(first, tag) for tag in (4, 5, 6, 7))
    return _upright(tiff, first, (right - left, bottom - top))


def _upright(tiff: _Tiff, directory: _Directory, size: Size) -> Size:
    turned = tiff.number(directory, ORIENTATION, 1) in (5, 6, 7, 8)
    return (size[1], size[0]) if turned else size
