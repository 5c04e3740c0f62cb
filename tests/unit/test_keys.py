"""Keys of objects: the rules for safe file names, and the conversion from ids to keys and back."""

import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared import keys
from tests.support.spellings import ORIGINAL, SPELLINGS

ids = st.integers(min_value=1, max_value=keys.MAX_ID)


@pytest.mark.parametrize(
    ("attachment_id", "partition"),
    [
        pytest.param(1, "000/000/001", id="1"),
        pytest.param(4, "000/000/004", id="4"),
        pytest.param(1_000, "000/001/000", id="1,000"),
        pytest.param(2_592_959, "002/592/959", id="2,592,959"),
        pytest.param(999_999_999, "999/999/999", id="the last of nine digits"),
        pytest.param(1_000_000_000, "001/000/000/000", id="the first of twelve digits"),
        pytest.param(999_999_999_999, "999/999/999/999", id="the last of twelve digits"),
        pytest.param(10**12, "001/000/000/000/000", id="the first of fifteen digits"),
        pytest.param(2**63 - 1, "009/223/372/036/854/775/807", id="the last of all"),
    ],
)
def test_an_id_is_partitioned_as_in_the_contract(attachment_id: int, partition: str) -> None:
    assert keys.partition(attachment_id) == partition


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        pytest.param("img.png", "img.png", id="safe already"),
        pytest.param("Résumé.pdf", "Resume.pdf", id="accents are dropped"),
        pytest.param("two words.png", "two_words.png", id="a space"),
        pytest.param("日本.jpg", "file.jpg", id="nothing of the stem is left"),
        pytest.param("日本-2.jpg", "_-2.jpg", id="something of the stem is left"),
        pytest.param("日本", "file", id="nothing is left"),
        pytest.param("../../etc/passwd", "file._etc_passwd", id="a path"),
        pytest.param("C:\\dir\\a.png", "C_dir_a.png", id="a Windows path"),
        pytest.param("${filename}", "_filename_", id="the variable of S3's forms"),
        pytest.param("a%2Fb+c.png", "a_2Fb_c.png", id="what decodes in two ways"),
        pytest.param("a\u202egnp.exe", "a_gnp.exe", id="an override of direction"),
        pytest.param("-rf.png", "rf.png", id="an option"),
        pytest.param(".htaccess", "htaccess", id="a hidden file"),
        pytest.param(".", "file", id="one dot"),
        pytest.param("..", "file", id="two dots"),
        pytest.param("archive.tar.gz", "archive.tar.gz", id="two extensions"),
        pytest.param("a" * 255 + ".png", "a" * 176 + ".png", id="too long"),
        pytest.param("é" * 255, "e" * 180, id="too long, no extension"),
    ],
)
def test_a_file_name_is_made_safe(name: str, file_name: str) -> None:
    assert keys.safe_file_name(name) == file_name


@given(name=st.text(max_size=255))
# NFKC turns the first name into ".." and the second name into "a/c".
@example("\ufe52\ufe52")
@example("\u2100")
@example("a." + "é" * 20)
def test_a_file_name_holds_all_its_promises(name: str) -> None:
    file_name = keys.safe_file_name(name)

    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", file_name, re.ASCII)
    assert len(file_name.encode()) <= 180
    assert file_name not in (".", "..")


@given(name=st.text(max_size=255))
def test_making_safe_twice_is_making_safe_once(name: str) -> None:
    once = keys.safe_file_name(name)

    assert keys.safe_file_name(once) == once


@pytest.mark.slow
@given(
    stem=st.text(min_size=1, max_size=250).filter(
        lambda stem: unicodedata.normalize("NFKD", stem).lstrip(".-\u0300") != ""
    ),
    extension=st.from_regex(r"[A-Za-z0-9]{1,20}", fullmatch=True),
)
@example("日本", "jpg")
@example("x" * 250, "jpeg")
def test_the_extension_is_kept_after_every_stem(stem: str, extension: str) -> None:
    # The name may have only dots before the extension. Then the safe file name is the extension
    # alone.
    file_name = keys.safe_file_name(f"{stem}.{extension}")

    assert file_name == extension or file_name.endswith(f".{extension}")


@given(attachment_id=ids, name=st.text(max_size=255))
def test_id_and_style_are_parsed_from_a_key(attachment_id: int, name: str) -> None:
    original = keys.original_key(attachment_id, name)
    thumbnail = keys.thumbnail_key(original)

    assert keys.parse_key(original) == (attachment_id, "original")
    assert keys.parse_key(thumbnail) == (attachment_id, "thumb")
    assert thumbnail == original.replace("/original/", "/thumb/", 1)


@given(style=st.from_regex(keys.STYLE_NAME, fullmatch=True), name=st.text(max_size=255))
def test_each_key_of_a_style_is_parsed_and_differs_from_the_original(style: str, name: str) -> None:
    assume(style != keys.ORIGINAL)
    original = keys.original_key(10**18, name)
    possible = keys.style_keys(original, style)

    assert original not in possible
    assert {keys.parse_key(key) for key in possible} == {(10**18, style)}
    assert max(map(len, possible)) < 1024


@given(
    key=st.from_regex(
        r"attachments/files/([0-9]{3}/){2,8}(original|thumb|[a-z0-9_-]{1,33})/[a-z.]{1,9}"
    )
)
def test_a_key_that_is_ours_is_the_only_one_of_its_id_and_file(key: str) -> None:
    named = keys.parse_key(key)
    if named is not None:
        assert key == (
            f"attachments/files/{keys.partition(named[0])}/{named[1]}/{key.rsplit('/', 1)[1]}"
        )


@pytest.mark.parametrize(
    ("extension", "file_name"),
    [
        pytest.param(None, "photo.tiff", id="of the same format"),
        pytest.param("png", "photo.png", id="of another format"),
    ],
)
def test_a_thumbnail_keeps_the_stem(extension: str | None, file_name: str) -> None:
    original = keys.original_key(4, "photo.tiff")

    assert keys.thumbnail_key(original, extension) == (
        f"attachments/files/000/000/004/thumb/{file_name}"
    )


def test_a_thumbnail_of_a_name_without_extension_gains_one() -> None:
    assert keys.thumbnail_key(keys.original_key(4, "photo"), "png").endswith("/thumb/photo.png")


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="nothing"),
        pytest.param("attachments/files/000/000/004/original/", id="no file name"),
        pytest.param("attachments/files/000/000/004/original/a/b", id="a folder more"),
        pytest.param("attachments/files/000/000/004/Large/a.png", id="a style in another case"),
        pytest.param(
            "attachments/files/000/000/004/1large/a.png", id="a style that begins with a digit"
        ),
        pytest.param("attachments/files/000/000/004/la.rge/a.png", id="a style with a dot"),
        pytest.param(f"attachments/files/000/000/004/{'l' * 33}/a.png", id="a long style"),
        pytest.param("attachments/files/000/004/original/a.png", id="six digits"),
        pytest.param("attachments/files/0000/000/04/original/a.png", id="other groups"),
        pytest.param("attachments/files/000/000/000/004/original/a.png", id="too many zeros"),
        pytest.param("attachments/files/٠٠٠/٠٠٠/٠٠٤/original/a.png", id="digits of another script"),
        pytest.param(
            "attachments/files/009/223/372/036/854/775/808/original/a.png", id="beyond 2^63 - 1"
        ),
        pytest.param(
            f"attachments/files/{'/'.join(['123'] * 1700)}/original/a.png",
            id="more digits than Python reads",
        ),
        pytest.param("attachments/files/000/000/004/original/a b.png", id="an unsafe name"),
        pytest.param("attachments/files/000/000/004/original/.", id="one dot"),
        pytest.param("attachments/files/000/000/004/original/..", id="two dots"),
        pytest.param("attachments/files/000/000/004/original/.a.png", id="a hidden name"),
        pytest.param("attachments/files/000/000/004/original/a.png\n", id="a line feed"),
        pytest.param("/attachments/files/000/000/004/original/a.png", id="a leading slash"),
        pytest.param("uploads/attachments/files/000/000/004/original/a.png", id="another prefix"),
        pytest.param("Attachments/files/000/000/004/original/a.png", id="another case"),
    ],
)
def test_a_foreign_key_names_nothing(key: str) -> None:
    assert keys.parse_key(key) is None


def test_of_all_spellings_of_a_key_only_its_own_names_anything() -> None:
    named = [key for key in SPELLINGS.values() if keys.parse_key(key) is not None]

    assert set(named) == {ORIGINAL, ORIGINAL.replace("original", "thumb")}
