"""Identify camera raws, and read the size of their main picture. Most of them are TIFFs inside.

Source: DNG 1.7, chapter 4; Exif 3.0, section 4.6. The structures of RAF, MRW and X3F are not
published; many readers agree on the few numbers that are read here. No I/O: bytes after the head
are requested by yielding a range (`worker.sniffing.ranges`).
"""

import struct
from collections.abc import Sequence
from typing import Final

from worker.sniffing.ranges import PartialFile, Reading
from worker.sniffing.tiff_tags import (
    EXIF,
    MAKE,
    PHOTOMETRIC,
    SUBFILES,
    Directory,
    Size,
    Tiff,
)

_EXIF_WIDTH, _EXIF_HEIGHT = 40962, 40963
_DNG_VERSION, _DNG_CROP = 50706, 50720
_COLOUR_FILTER, _LINEAR = 32803, 34892
"""The values of the tag PhotometricInterpretation that mark data of a camera's sensor (DNG 1.7,
chapter 4)."""

DNG: Final = "image/x-adobe-dng"
OTHER_RAW: Final = "image/x-dcraw"
RAF: Final = "image/x-fuji-raf"
MRW: Final = "image/x-minolta-mrw"
X3F: Final = "image/x-sigma-x3f"
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
TIFF_RAWS: Final = frozenset({DNG, OTHER_RAW, _CR2, *_MAKERS.values(), *_MAGIC.values()})
"""Types of camera raws whose structure is that of TIFF."""

_TIFF_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_DIRECTORY_BYTES: Final = 4096
"""Number of bytes that are requested if a directory is after the head."""

_RAF_SIZES: Final = (0x111, 0x121, 0x100)
"""Tags of a RAF that contain a size: the picture's, the size after processing, the sensor's."""

_RAF_TAGS: Final = 256


def identify_raw(file: PartialFile) -> Reading[str | None]:
    """Return the type of a camera raw; None for all other files.

    A TIFF is a camera raw if one of its directories says that it contains data of a sensor, or if
    the file gives a version of DNG. Requests at most one range, for a directory after the head.
    """
    head = file.head
    if (named := _MAGIC.get(head[:4])) is not None:
        return named
    if not head.startswith(_TIFF_STARTS):
        return None
    if head[8:10] == b"CR":
        return _CR2
    if head[8:12] in (b"IIII", b"MMMM"):
        return _MAKERS["phase one"]
    found = _type_by_tags(file)
    if found is None and (yield from _see_directory(file, [SUBFILES], spare=2)):
        found = _type_by_tags(file)
    return found


def _type_by_tags(file: PartialFile) -> str | None:
    try:
        tiff = Tiff(file)
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


def _see_directory(file: PartialFile, tags: Sequence[int], *, spare: int = 0) -> Reading[bool]:
    """Request a directory that is after the known bytes; return True if it is known now.

    `tags` are the tags of the first directory that refer to such directories, the most wanted one
    first.
    """
    try:
        tiff = Tiff(file)
        first, _ = tiff.directory(tiff.first)
        for tag in tags:
            unseen = [at for at in tiff.numbers(first, tag) if at and not tiff.has_seen(at)]
            if unseen:
                found = yield from file.look(min(unseen), _DIRECTORY_BYTES, spare=spare)
                return len(found) > 0
    except (struct.error, OverflowError):
        pass
    return False


def _is_sensor(tiff: Tiff, directory: Directory) -> bool:
    return tiff.number(directory, PHOTOMETRIC) in (_COLOUR_FILTER, _LINEAR)


def raw_size(file: PartialFile) -> Reading[Size | None]:
    """Return the width and height of the main picture in a camera raw, after rotation.

    Uses the crop of DNG if there is one, otherwise Exif's size if there is one, otherwise the
    directory with the sensor's data. Returns None if there is no size. Requests at most one range.
    """
    size = _known_size(file)
    if size is None and (yield from _see_directory(file, _wanted(file))):
        size = _known_size(file)
    return size


def _wanted(file: PartialFile) -> list[int]:
    """Return the tags that refer to directories with a size, the most wanted one first."""
    try:
        tiff = Tiff(file)
        first, _ = tiff.directory(tiff.first)
    except (struct.error, OverflowError):
        return []
    return [SUBFILES] if _DNG_VERSION in first else [EXIF, SUBFILES]


def _known_size(file: PartialFile) -> Size | None:
    try:
        return _size_by_tags(Tiff(file), file.head)
    except (struct.error, OverflowError):  # the known bytes end before the numbers
        return None


def _size_by_tags(tiff: Tiff, head: bytes) -> Size | None:
    if head.startswith(b"IIU\0"):
        return _panasonic_size(tiff)
    directories = list(tiff.directories())
    if not directories:
        return None
    first = directories[0]
    for each in directories:
        if len(crop := tiff.numbers(each, _DNG_CROP)) == 2:
            return tiff.upright(first, (crop[0], crop[1]))
    # In a DNG, Exif's size may be that of the preview.
    if _DNG_VERSION not in first and (exif_at := tiff.number(first, EXIF)):
        exif, _ = tiff.directory(exif_at)
        size = tiff.number(exif, _EXIF_WIDTH), tiff.number(exif, _EXIF_HEIGHT)
        if all(size):
            return tiff.upright(first, size)
    sensors = [each for each in directories if _is_sensor(tiff, each)]
    if head.startswith((b"IIR", b"MMO")):
        sensors = directories[:1]
    largest = max(map(tiff.size, sensors), key=lambda size: size[0] * size[1], default=None)
    return largest and tiff.upright(first, largest)


def _panasonic_size(tiff: Tiff) -> Size:
    """Return the size between the sensor's borders: tags 4 to 7 are top, left, bottom, right."""
    first, _ = tiff.directory(tiff.first)
    top, left, bottom, right = (tiff.number(first, tag) for tag in (4, 5, 6, 7))
    return tiff.upright(first, (right - left, bottom - top))


def raf_size(file: PartialFile) -> Reading[Size | None]:
    """Return the size of the picture in a RAF, after rotation; None if the file does not give it.

    The size is in a table after the preview. Requests one range for it. The rotation is in the
    Exif data of the preview. Raises struct.error if the bytes end before the numbers.
    """
    preview, _, start, length = struct.unpack_from(">4I", file.head, 84)
    table = yield from file.look(start, min(length, _DIRECTORY_BYTES))
    (count,) = struct.unpack_from(">I", table)
    found, at = dict[int, Size](), 4
    for _ in range(min(count, _RAF_TAGS)):
        tag, width = struct.unpack_from(">HH", table, at)
        if tag in _RAF_SIZES and width >= 4:
            height, across = struct.unpack_from(">HH", table, at + 4)
            found[tag] = across, height
        at += 4 + width
    size = next((found[tag] for tag in _RAF_SIZES if tag in found), None)
    exif = file.head.find(b"Exif\0\0", preview)
    if size is None or exif < 0:
        return size
    try:
        tiff = Tiff(PartialFile(file.head[exif + 6 :], 0))
        first, _ = tiff.directory(tiff.first)
        return tiff.upright(first, size)
    except struct.error:  # the head ends inside the preview's Exif data
        return size


def mrw_size(head: bytes) -> Size:
    """Return the size of the picture in an MRW, from its block `PRD`."""
    height, width = struct.unpack_from(">HH", head, 28)
    return width, height


def x3f_size(head: bytes) -> Size:
    """Return the size of the picture in an X3F, after its rotation in degrees."""
    width, height, rotation = struct.unpack_from("<III", head, 28)
    return (height, width) if rotation in (90, 270) else (width, height)
