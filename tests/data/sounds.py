"""Sound and films that libmagic 5.41 does not know or takes for another type, with their true
types."""

import struct
from collections.abc import Callable
from typing import Final


def id3(sound: bytes, length: int = 3000, *, footer: bool = False) -> bytes:
    """Return audio data that follows an ID3 tag of `length` bytes with a title."""
    digits = bytes(length >> shift & 127 for shift in (21, 14, 7, 0))
    title = b"TIT2\0\0\0\5\0\0\0Song"
    tag = b"ID3\4\0" + (b"\x10" if footer else b"\0") + digits + title.ljust(length, b"\0")
    return tag + (b"3DI\4\0\x10" + digits if footer else b"") + sound + bytes(2000)


def adts(*, mark: bytes = b"\xff\xf1") -> bytes:
    """Return ten frames of AAC, each of 200 bytes (ISO/IEC 13818-7, 6.2)."""
    return (mark + b"\x50\x80\x19\x1f\xfc" + bytes(193)) * 10


def latm(frames: int = 5) -> bytes:
    """Return frames of AAC in LOAS, then other bytes."""
    return (b"\x56\xe0\x64" + bytes(100)) * frames + b"\x33" * 2000


def transport_stream(before: bytes = b"") -> bytes:
    """Return packets of an MPEG transport stream. `before` precedes each: on a Blu-ray, 4 bytes."""
    return (before + b"\x47\x40\0\x10" + bytes(184)) * 20


def asf(*kinds: str, picture_bytes: int = 0) -> bytes:
    """Return an ASF file with streams of these kinds: `audio`, `video`, `script`.

    The header may have a cover picture of `picture_bytes` before the streams.
    """
    guids = {
        "audio": "409E69F84D5BCF11A8FD00805F5C442B",
        "video": "C0EF19BC4D5BCF11A8FD00805F5C442B",
        "script": "C0CFDA59E659D011A3AC00A0C90348F6",
    }
    stream = bytes.fromhex("9107DCB7B7A9CF118EE600C00C205365")
    # The next object of the ASF file describes the file itself.
    file = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
    objects = [file + struct.pack("<Q", 104) + bytes(80)]
    if picture_bytes:
        described = bytes.fromhex("40A4D0D207E3D21197F000A0C95EA850")
        objects.append(described + struct.pack("<Q", 24 + picture_bytes) + bytes(picture_bytes))
    objects += [
        stream + struct.pack("<Q", 78) + bytes.fromhex(guids[kind]) + bytes(38) for kind in kinds
    ]
    body = b"".join(objects)
    header = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
    return header + struct.pack("<QIH", 30 + len(body), len(objects), 0x201) + body + bytes(500)


SOUNDS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "flac-after-id3": (lambda: id3(b"fLaC\0\0\0\x22"), "audio/flac"),
    "flac-after-id3-of-200-kB": (lambda: id3(b"fLaC\0\0\0\x22", 200_000), "audio/flac"),
    "flac-after-two-tags": (lambda: id3(b"", 500)[:510] + id3(b"fLaC\0\0\0\x22"), "audio/flac"),
    "aac-after-id3-with-footer": (lambda: id3(b"\xff\xf1\x50\x80", footer=True), "audio/aac"),
    "aac-after-id3-of-200-kB": (lambda: id3(b"\xff\xf1\x50\x80", 200_000), "audio/aac"),
    "wav-after-id3": (lambda: id3(b"RIFF\0\0\0\0WAVEfmt "), "audio/wav"),
    "mp3-after-id3": (lambda: id3(b"\xff\xfb\x90\x64"), "audio/mpeg"),
    "mp3-after-id3-of-200-kB": (lambda: id3(b"\xff\xfb\x90\x64", 200_000), "audio/mpeg"),
    "unknown-after-id3": (lambda: id3(b"something"), "audio/mpeg"),
    "wma": (lambda: asf("audio"), "audio/x-ms-wma"),
    "wma-with-commands": (lambda: asf("script", "audio"), "audio/x-ms-wma"),
    "wma-with-a-cover-of-200-kB": (
        lambda: asf("audio", picture_bytes=200_000),
        "audio/x-ms-wma",
    ),
    "wmv": (lambda: asf("audio", "video"), "video/x-ms-wmv"),
    "aac": (adts, "audio/aac"),
    "aac-of-mpeg-2": (lambda: adts(mark=b"\xff\xf9"), "audio/aac"),
    "aac-in-loas": (latm, "audio/x-mp4a-latm"),
    "one-frame-of-loas": (lambda: latm(1), "application/octet-stream"),
    "mpeg-ts": (transport_stream, "video/mp2t"),
    "ts-of-another-table": (
        lambda: transport_stream().replace(b"\x47\x40\0\x10", b"\x47\x40\x11\x10"),
        "video/mp2t",
    ),
    "m2ts": (lambda: transport_stream(bytes(4)), "video/mp2t"),
}
"""Files by name: the function that makes the bytes, and the type that the worker must find."""
