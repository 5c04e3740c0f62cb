"""Escape text from clients and stores, so that it cannot harm a terminal or mislead a reader."""

import re

# Invisible characters that `str.isprintable` accepts: fillers, and variation selectors except those
# of emoji. Source: Unicode's Default_Ignorable_Code_Point.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""Replace invisible characters and unusual spaces by JSON's escapes: `\n`, `\u202e`.

    These are control characters (C0 and C1), direction marks, zero-width, tag, private and
    unassigned characters, lone surrogates, line separators, and every space except U+0020. A
    character beyond U+FFFF becomes a surrogate pair: `\udb40\udc41`. The result cannot control a
    terminal, reorder a line or hide text. Inside a JSON string, the result means the same as the
    text.
    """
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(
        letter if letter.isprintable() and not _UNSEEN.match(letter) else _escaped(letter)
        for letter in text
    )


def escape_lines(text: str) -> str:
    """Escape a text of several lines, but keep its line feeds."""
    return "\n".join(map(escape, text.split("\n")))


def _escaped(letter: str) -> str:
    if letter in _SHORT:
        return _SHORT[letter]
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
