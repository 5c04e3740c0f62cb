"""One test file of each type that the worker distinguishes: documents, archives, films, texts."""

import gzip
import io
import struct
import wave
from collections.abc import Mapping
from typing import Final

from PIL import Image

from tests.data import images
from tests.data.archives import OFFICE, RUNNABLE
from tests.data.containers import matroska
from tests.data.texts import TEXTS
from tests.data.writing import (
    HEAD,
    WORDS,
    Document,
    film,
    film_of_long_parts,
    heif,
    jar,
    pdf,
    quicktime_without_type,
    tar,
)


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(800))
    return file.getvalue()


_MP3_FRAME: Final = b"\xff\xfb\x90\x64" + bytes(413)
_FLAC: Final = (
    b"fLaC\x80\x00\x00\x22"
    + struct.pack("!HH", 4096, 4096)
    + bytes(6)
    + bytes.fromhex("0AC442F000000000")
    + bytes(16)
)
_OGG: Final = b"OggS\0\2" + bytes(20) + b"\1\x13" + b"OpusHead\1\2\x38\1\x80\xbb\0\0\0\0\0"
_PSD: Final = b"8BPS" + struct.pack("!H6sHIIHH", 1, b"", 3, 4, 4, 8, 3) + bytes(14)
_EPS_HEAD: Final = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
_SEVEN_Z: Final = b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24)
_RAR: Final = b"Rar!\x1a\x07\x01\x00" + bytes.fromhex("3392b5e50a01050600050101808000")
MEDIA: Final[Mapping[str, Document]] = {
    # The next files consist of ISO boxes.
    "heic": (lambda: heif(b"heic", b"mif1", b"heic"), "a.heic", "image/heic"),
    "heic-by-compatible": (lambda: heif(b"mif1", b"mif1", b"heic"), "a.heic", "image/heic"),
    "heif": (lambda: heif(b"mif1", b"mif1", b"miaf"), "a.heif", "image/heif"),
    "avif": (lambda: heif(b"avif", b"mif1", b"avif"), "a.avif", "image/avif"),
    "avif-by-compatible": (lambda: heif(b"mif1", b"avif", b"miaf"), "a.avif", "image/avif"),
    "mp4": (lambda: film(b"isom", b"soun", b"vide"), "a.mp4", "video/mp4"),
    "mp4-far": (
        lambda: film(b"mp42", b"soun", b"vide", filling=3 * HEAD, last=True),
        "a.mp4",
        "video/mp4",
    ),
    "mp4-far-track": (
        lambda: film(b"mp42", b"soun", b"vide", table_bytes=2 * HEAD),
        "a.mp4",
        "video/mp4",
    ),
    "mp4-audio": (lambda: film(b"isom", b"soun"), "a.mp4", "audio/mp4"),
    "mp4-audio-far": (
        lambda: film(b"isom", b"soun", filling=3 * HEAD, last=True),
        "a.mp4",
        "audio/mp4",
    ),
    "mp4-audio-long-boxes": (lambda: film_of_long_parts(b"soun"), "a.mp4", "audio/mp4"),
    "mp4-of-sony": (
        lambda: film(b"XAVC", b"vide", compatible=(b"XAVC", b"mp42")),
        "a.mp4",
        "video/mp4",
    ),
    "cr3": (
        lambda: film(b"crx ", b"vide", compatible=(b"crx ", b"isom")),
        "a.cr3",
        "image/x-canon-cr3",
    ),
    "mj2": (lambda: film(b"mj2s", b"vide", compatible=(b"mj2s", b"isom")), "a.mj2", "video/mj2"),
    "m4v": (lambda: film(b"M4V ", b"vide", b"soun"), "a.m4v", "video/x-m4v"),
    "m4a": (lambda: film(b"M4A ", b"soun"), "a.m4a", "audio/mp4"),
    "mov": (lambda: film(b"qt  ", b"vide", compatible=(b"qt  ",)), "a.mov", "video/quicktime"),
    "mov-without-type": (quicktime_without_type, "a.mov", "video/quicktime"),
    "3gp": (lambda: film(b"3gp5", b"vide"), "a.3gp", "video/3gpp"),
    "3gp-audio": (lambda: film(b"3gp4", b"soun"), "a.3gp", "audio/3gpp"),
    # The next files consist of EBML elements.
    "webm": (lambda: matroska(b"webm", 1, 2), "a.webm", "video/webm"),
    "webm-audio": (lambda: matroska(b"webm", 2), "a.webm", "audio/webm"),
    "mkv": (lambda: matroska(b"matroska", 2, 1), "a.mkv", "video/x-matroska"),
    "mka": (lambda: matroska(b"matroska", 2), "a.mka", "audio/x-matroska"),
}
OTHERS: Final[Mapping[str, Document]] = {
    "pdf": (pdf, "a.pdf", "application/pdf"),
    "pdf-after-bytes": (lambda: pdf(bytes(range(256)) * 3), "a.pdf", "application/pdf"),
    "pdf-after-text": (lambda: pdf(WORDS * 15), "a.pdf", "application/pdf"),
    "gzip": (lambda: gzip.compress(WORDS, mtime=0), "a.gz", "application/gzip"),
    "7z": (lambda: _SEVEN_Z, "a.7z", "application/x-7z-compressed"),
    "rar": (lambda: _RAR, "a.rar", "application/vnd.rar"),
    "tar": (tar, "a.tar", "application/x-tar"),
    "mp3": (lambda: _MP3_FRAME * 9, "a.mp3", "audio/mpeg"),
    "mp3-tagged": (
        lambda: b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + _MP3_FRAME * 9,
        "a.mp3",
        "audio/mpeg",
    ),
    "wav": (_wav, "a.wav", "audio/wav"),
    "flac": (lambda: _FLAC, "a.flac", "audio/flac"),
    "ogg": (lambda: _OGG, "a.ogg", "audio/ogg"),
    "psd": (lambda: _PSD, "a.psd", "image/vnd.adobe.photoshop"),
    "tiff": (lambda: images.encode(images.quadrants(), "TIFF"), "a.tif", "image/tiff"),
    "bmp": (lambda: images.encode(images.quadrants(), "BMP"), "a.bmp", "image/bmp"),
    "ico": (
        lambda: images.encode(images.quadrants(32, 32), "ICO"),
        "a.ico",
        "image/vnd.microsoft.icon",
    ),
    "eps": (lambda: _EPS_HEAD, "a.eps", "application/postscript"),
    "jpeg": (images.photo, "a.jpg", "image/jpeg"),
    "mpo": (
        lambda: images.encode(
            images.quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]
        ),
        "a.jpg",
        "image/jpeg",
    ),
    "png-and-jar": (
        lambda: jar(prefix=images.encode(images.quadrants(), "PNG")),
        "a.png",
        "image/png",
    ),
}
DOCUMENTS: Final[Mapping[str, Document]] = {**OFFICE, **RUNNABLE, **MEDIA, **TEXTS, **OTHERS}
"""Files of every type that the worker distinguishes, by name."""
