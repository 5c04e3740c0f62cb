"""A text of characters that must not reach a terminal, and a function that finds them."""

import unicodedata

FORBIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
HOSTILE = (
    "\x00\x07\x08\t\n\r\x1b[31m\x1b]0;t\x07\x7f\x80\x85\x9b31m\x9f\xad\u061c\u115f\u180e\u200b\u200c\u200d"
    "\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u3164\ud800-\udcff"
    "\udfff\ue000\ufeff\uffff\ufff9\U000e0001\U000e0041\U0010ffff"
)


def raw(text: str, *, allowed: str = "\n") -> set[str]:
    """Return the characters of a text that no output may contain, except those in `allowed`."""
    return {
        letter
        for letter in text
        if unicodedata.category(letter) in FORBIDDEN and letter not in allowed
    }
