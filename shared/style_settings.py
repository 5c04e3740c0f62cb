"""The setting ATTACHMENTS_STYLES: in which sizes workers make thumbnails."""

import re
from functools import cached_property
from typing import Final

from pydantic import field_validator

from shared.facts import THUMB_EDGE
from shared.keys import ORIGINAL, STYLE_NAME, THUMB
from shared.part_settings import LogSettings, QueueSettings, Words, split_setting

MAX_STYLES: Final = 6
"""Maximum number of styles, `thumb` included. Each style is one more object to write within the
same lease, and one more to remove."""

MIN_EDGE: Final = 16
MAX_EDGE: Final = 2048
"""Minimum and maximum edge of a style, in pixels. A decoder draws documents at twice the edge: with
2048, that takes 64 MiB of its 1 GiB. While a worker stores the thumbnails of a file, it has them in
memory, with at most 32 MiB for each style of 2048 pixels."""

_WORD: Final = re.compile(rf"({STYLE_NAME}):([1-9][0-9]{{0,8}})", re.ASCII)


class StyleSettings(LogSettings):
    """The styles of thumbnails, for workers and for `attachments retry --style`."""

    styles: Words = ()

    _style_words = field_validator("styles", mode="before")(split_setting)

    @field_validator("styles")
    @classmethod
    def _styles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if faults := _faults(value):
            raise ValueError("; ".join(faults))
        return value

    @cached_property
    def edges(self) -> dict[str, int]:
        """The longest edge of each style in pixels, by name; `thumb` is the first."""
        named = (word.split(":") for word in self.styles)
        return {THUMB: THUMB_EDGE} | {name: int(edge) for name, edge in named}


def _faults(words: tuple[str, ...]) -> list[str]:
    """Return each rule that the setting breaks, with the number of the entry but not its text."""
    faults: list[str] = []
    names: set[str] = set()
    for number, word in enumerate(words, 1):
        match = _WORD.fullmatch(word)
        if match is None:
            faults.append(
                f"entry {number} must be a name and a number of pixels, such as medium:1024; the"
                " name must begin with a-z, followed by up to 31 of a-z, 0-9, _ and -"
            )
            continue
        name, edge = match[1], int(match[2])
        if name in names:
            faults.append(f"entry {number} repeats a name")
        elif name == ORIGINAL:
            faults.append(f"entry {number}: {ORIGINAL} cannot be the name of a style")
        elif name == THUMB and edge != THUMB_EDGE:
            faults.append(f"entry {number}: {THUMB} always has {THUMB_EDGE} pixels")
        elif not MIN_EDGE <= edge <= MAX_EDGE:
            faults.append(f"entry {number} must have {MIN_EDGE} to {MAX_EDGE} pixels")
        names.add(name)
    if len(names | {THUMB}) > MAX_STYLES:
        faults.append(f"must have at most {MAX_STYLES} styles, {THUMB} included")
    return faults


class RetrySettings(StyleSettings, QueueSettings):
    """The settings to let attachments be processed again, for `attachments retry`."""
