"""Read JPEG XL (ISO/IEC 18181) as Pillow reads other formats. The decoder is libjxl."""

from typing import Any, BinaryIO, Final, cast

from PIL import Image, ImageFile

from shared.errors import Undecodable
from worker.decoding.inside.libjxl import Decoder

STARTS: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""The first bytes of a codestream, and of a file that contains one in boxes."""

_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class JxlImageFile(ImageFile.ImageFile):
    """The first frame of a JPEG XL, upright, with 8 bits for each channel.

    `is_whole` is false if the frame is cut off or broken: some of its parts are then coarse.
    """

    format = "JXL"
    format_description = "JPEG XL"
    is_whole = True
    #: One transparent pixel. Decoding it uses all code that later images need.
    sample = bytes.fromhex(
        "ff0a0010b013004c801000c800671328010050a132cab8c1cbb99e2f3f74584cdbb8ced056db1696248a8c639354"
        "e71038248923d8b81ea491691f202b4900"
    )

    # Pillow calls `_open`, and offers only `_mode` and `_size` to set the mode and the size. These
    # three names are private in Pillow.
    def _open(self) -> None:
        assert self.fp is not None
        self.decoder: Decoder | None = Decoder(cast(BinaryIO, self.fp))
        self.fault: Undecodable | None = None
        self.decoder.read_header()
        info = self.decoder.info
        self._size = (info.width, info.height)
        self._mode = _MODES[self.decoder.channels]
        self.keeps_every_pixel = bool(info.keeps_profile)
        try:
            self.decoder.read_profile()
        except Undecodable as error:  # raised later, so that the size is known
            self.fault = error
        if self.decoder.profile is not None:
            self.info["icc_profile"] = self.decoder.profile

    def load(self) -> Any:
        """Decode the pixels. Raises Undecodable."""
        if self.fault is not None:
            raise self.fault
        if self.decoder is not None:
            decoder, self.decoder = self.decoder, None
            pixels, self.is_whole = decoder.decode()
            del decoder  # frees the memory of libjxl
            self.im = Image.frombytes(self.mode, self.size, pixels).im
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(STARTS)


Image.register_open(JxlImageFile.format, JxlImageFile, _accept)
