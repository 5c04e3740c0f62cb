"""The API refuses every spelling of a key that a store may treat as an original's key."""

import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.spellings import MAX_KEY_BYTES, fold, is_plain, may_be_copied
from tests.support.spellings import ORIGINAL, SPELLINGS


def look_alikes() -> dict[str, str]:
    """Return each character that normalization (NFKC) turns into characters of the keys' prefix."""
    return {
        chr(number): folded
        for number in range(0x80, 0x30000)
        if (folded := unicodedata.normalize("NFKC", chr(number)).casefold()) in set("achefilmnst./")
    }


@pytest.mark.parametrize("key", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_no_spelling_of_an_original_may_be_copied(key: str) -> None:
    assert not may_be_copied(key, ours=True)


def test_no_look_alike_opens_the_folder_of_originals() -> None:
    letters = look_alikes()
    opened = []
    for character, plain in letters.items():
        key = ORIGINAL if plain != "." else f"./{ORIGINAL}"
        if may_be_copied(key.replace(plain, character, 1), ours=True):
            opened.append(character)

    assert len(letters) > 300
    assert opened == []


def encode(text: str) -> str:
    """Percent-encode every byte of a text."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


WAYS: list[Callable[[str], str]] = [
    str.upper,
    str.title,
    encode,
    quote,
    lambda text: quote(text, safe=""),
    lambda text: text.replace("/", "\\"),
    lambda text: text.replace("/", "//"),
    lambda text: text.replace("/", "/./"),
    lambda text: text.replace("/", " /"),
    lambda text: text.replace("/", "./"),
    lambda text: text.replace("/", "\uff0f"),
    lambda text: text.replace("/", "\uff3c"),
    lambda text: text.replace("/", "\u2044"),
    lambda text: text.replace("/", "\u2215"),
    lambda text: text.replace("%", "\uff05"),
    lambda text: text.replace("a", "a\u0301"),
    lambda text: text.replace("t", "t\u00ad").replace("f", "\u200bf"),
    lambda text: text.replace("fi", "\ufb01"),
    lambda text: text.replace("s", "\u017f"),
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: f"/{text}",
    lambda text: f"./{text}",
    lambda text: f"x/../{text}",
    lambda text: f"\ufeff{text}",
]


@given(ways=st.lists(st.sampled_from(WAYS), max_size=5))
def test_ways_of_writing_in_any_order_do_not_open_it_either(
    ways: list[Callable[[str], str]],
) -> None:
    key = "attachments/files/000/000/009/original/a"
    for way in ways:
        key = way(key)

    assert not may_be_copied(key, ours=True)


@given(key=st.text(max_size=60) | st.text(alphabet="aA/\\.%25cC \u200b\uff0f", max_size=40))
def test_a_key_that_may_be_copied_is_plain_and_folds_to_itself_again(key: str) -> None:
    if may_be_copied(key, ours=True):
        folded = fold(key)
        assert is_plain(key)
        assert folded is not None
        assert fold(folded) == folded
        assert not folded.startswith("attachments/files")
        assert not any(segment in ("", ".", "..") for segment in folded.split("/"))


@given(key=st.text(max_size=40), other=st.text(max_size=20))
def test_no_key_leaves_its_fence(key: str, other: str) -> None:
    fence = "in/1/"
    if may_be_copied(f"{fence}{key}", ours=False, fences=(fence,)):
        assert (fold(f"{fence}{key}") or "").startswith(fence)
    if not other.startswith(fence):
        assert not may_be_copied(other, ours=False, fences=(fence,))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("uploads/1418301662608/dummyfile.pdf", id="the contract's sample"),
        pytest.param("attachments/a.png", id="the folder above"),
        pytest.param("uploads/attachments/files/a.png", id="a folder of the same name elsewhere"),
        pytest.param("uploads/a photo.jpg", id="a space"),
        pytest.param("uploads/a+b.jpg", id="a plus"),
        pytest.param("uploads/100%.pdf", id="a percent sign"),
        pytest.param("uploads/a%2Fb.pdf", id="an encoded slash in the key"),
        pytest.param("uploads/what?.pdf", id="a question mark"),
        pytest.param("uploads/https%3A%2F%2Fhost%2Fa.png", id="an encoded address"),
        pytest.param("uploads/a#1.pdf", id="a number sign"),
        pytest.param("uploads/Résumé ½ 日本…pdf", id="other scripts"),
        pytest.param("uploads/v1..2/a.pdf", id="two dots within a name"),
        pytest.param("uploads/.hidden", id="a hidden file in a folder"),
        pytest.param("a" * MAX_KEY_BYTES, id="as long as a key may be"),
    ],
)
def test_other_keys_may_be_copied_from_any_bucket(key: str) -> None:
    assert may_be_copied(key, ours=True)
    assert may_be_copied(key, ours=False)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="nothing"),
        pytest.param("a" * (MAX_KEY_BYTES + 1), id="too long"),
        pytest.param("uploads\\a", id="a backslash"),
        pytest.param("uploads/a\x01", id="a C0 control"),
        pytest.param("uploads/a\x7f", id="DEL"),
        pytest.param("uploads/a\x85", id="a C1 control"),
        pytest.param("uploads/\ud800", id="a lone surrogate"),
        pytest.param("uploads//a", id="an empty segment"),
        pytest.param("uploads/", id="a slash at the end"),
        pytest.param("uploads/ ", id="a space at the end, which a file system drops"),
        pytest.param("uploads/\u200b", id="nothing to see at the end"),
        pytest.param("uploads/./a", id="one dot"),
        pytest.param("uploads/../a", id="two dots"),
        pytest.param("uploads/.. /a", id="two dots and a space"),
        pytest.param("uploads/%2e%2e/a", id="two dots, encoded"),
        pytest.param("uploads/.\u200b./a", id="two dots around nothing"),
        pytest.param("uploads/\u2025/a", id="a two dot leader"),
        pytest.param("uploads/..\uff3ca", id="two dots before a full-width backslash"),
        pytest.param("uploads/a?versionId=1", id="a version, as it ends a copy's source"),
        pytest.param("uploads/%3FVERSIONID=1", id="a version, encoded"),
        pytest.param(".uploads/1/0001.part", id="SeaweedFS's parts"),
        pytest.param("%2Euploads/1/0001.part", id="SeaweedFS's parts, encoded"),
        pytest.param(".sgwtmp/multipart/a", id="versitygw's parts"),
        pytest.param("a.pdf.versions/v_1", id="SeaweedFS's versions"),
        pytest.param("%" + "25" * 20 + "41", id="encoded without end"),
        pytest.param("\ufdfa" * 300, id="what unfolds to much more"),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "another bucket"])
def test_a_key_that_stores_may_read_in_two_ways_is_refused_everywhere(key: str, ours: bool) -> None:
    assert not may_be_copied(key, ours=ours)
