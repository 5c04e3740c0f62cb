"""Files that a desktop runs on a double click get reserved types, from their bytes or name."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import safe_file_name
from shared.reserved import ALL_EXTENSIONS, EXTENSIONS, TYPES, Reserved
from tests.data.runnable import BY_BYTES, INNOCENT
from worker.sniffing.identify import identify
from worker.sniffing.ranges import PartialFile
from worker.sniffing.runnables import identify_runnable

DOCUMENTED = Path(__file__).parents[2] / "deploy/docs/reserved-types.md"
USUAL = Reserved()


def named(content: bytes) -> str:
    """Return the media type that the worker finds for a file with this content."""
    asking = identify(PartialFile(content[: 64 * 1024], len(content)))
    try:
        start, end = next(asking)
        while True:
            start, end = asking.send(content[start:end])
    except StopIteration as found:
        return str(found.value)


@pytest.mark.parametrize("name", BY_BYTES)
def test_bytes_that_a_desktop_runs_are_named_and_reserved(name: str) -> None:
    content, content_type = BY_BYTES[name]
    assert named(content) == content_type
    assert USUAL.has_type(content_type)


@pytest.mark.parametrize("name", INNOCENT)
def test_types_that_people_share_are_not_reserved(name: str) -> None:
    content, file_name = INNOCENT[name]
    assert not USUAL.has_type(named(content))
    assert not USUAL.has_name(file_name)


ISSUED = (
    "hta",
    "vbs",
    "vbe",
    "jse",
    "wsf",
    "scf",
    "url",
    "lnk",
    "reg",
    "cmd",
    "bat",
    "msc",
    "pif",
    "desktop",
    "com",
    "exe",
    "scr",
    "msi",
    "jar",
    "jnlp",
    "cpl",
)


SPELLINGS = (
    "a.{}",
    "a.jpg.{}",
    "A.{} ",
    "a.{}.",
    "a.{}. .",
    "a.{}::$DATA",
    "a.{}:stream",
    ".{}",
    "folder/a.{}",
    "c:\\a.{}",
    "a\u202egpj.{}",
    "a.{}\u200b",
    "a.\u200b{}",
)


@pytest.mark.parametrize("extension", [*ISSUED, *sorted(ALL_EXTENSIONS - set(ISSUED))])
def test_a_name_is_read_as_a_desktop_reads_it(extension: str) -> None:
    cases = (extension, extension.upper(), extension.title())
    names = [spelling.format(written) for spelling in SPELLINGS for written in cases]
    assert [name for name in names if not USUAL.has_name(name)] == []


def test_full_width_letters_are_letters() -> None:
    assert USUAL.has_name("invoice.\uff45\uff58\uff45")
    assert USUAL.has_name("invoice\uff0eexe")


def test_a_name_ends_where_its_last_letter_does() -> None:
    for end in ("/", "\\", "/.", "/..", "\u2003", "\u1680.", " / . /"):
        assert USUAL.has_name(f"evil.exe{end}"), end


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a.e\u302exe", id="a mark that takes room"),
        pytest.param("a.exe\u0345", id="a mark that folds to a letter"),
        pytest.param("a" * 176 + ".exe" + "b" * 30, id="a cut in a long extension"),
    ],
)
def test_the_file_name_in_the_key_is_judged_too(name: str) -> None:
    assert safe_file_name(name).endswith(".exe")
    assert USUAL.has_name(name)


def test_a_class_id_is_the_extension_of_its_handler() -> None:
    assert USUAL.has_name("a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "exe",
        "a.jpg",
        "a.exe.jpg",
        "a.js",
        "a.py",
        "a.sh",
        "a.ps1",
        "a.html",
        "a.svg",
        "a.zip",
        "a.docm",
        "a.iso",
        "",
        ".",
        "..",
        "a.",
        "a.txt:",
        "hta vbs",
        "a.exe/b.txt",
    ],
)
def test_other_names_are_free(name: str) -> None:
    assert not USUAL.has_name(name)


@given(st.text(max_size=300))
def test_any_name_can_be_judged(name: str) -> None:
    USUAL.has_name(name)


@given(st.binary(max_size=3000))
def test_any_bytes_can_be_judged(content: bytes) -> None:
    assert identify_runnable(content) in {None, *TYPES}


def test_a_setting_widens_and_narrows() -> None:
    changed = Reserved.changed_by(["+.ISO", "-.chm", "+application/x-foo", "-text/vbscript"])
    assert changed.has_name("a.iso")
    assert not changed.has_name("a.chm")
    assert changed.has_type("application/X-Foo; a=b")
    assert not changed.has_type("text/vbscript")
    assert changed.has_name("a.hta")
    assert Reserved.changed_by([]) == USUAL


@pytest.mark.parametrize(
    "word", ["iso", ".iso", "+iso", "*.iso", "+", "+.", "+./a", "- .iso", "+a b/c", "application/x"]
)
def test_a_word_of_another_form_is_a_fault(word: str) -> None:
    with pytest.raises(ValueError, match="must be words such as"):
        Reserved.changed_by([word])


def test_the_documented_table_is_the_one_in_force() -> None:
    text = DOCUMENTED.read_text()
    rows = dict(re.findall(r"^\| ([^|`]+?) \| (`\..+`) \|$", text, re.MULTILINE))
    assert {group: tuple(re.findall(r"`\.([^`]+)`", cell)) for group, cell in rows.items()} == (
        EXTENSIONS
    )
    listed = set(re.findall(r"^- `([^`]+/[^`]+)`$", text, re.MULTILINE))
    assert listed == TYPES


PLAIN_ENDS = st.sampled_from(["exe", "EXE", ".exe", ".png", ".Lnk", ".js", " .exe", ". exe", "."])


@given(st.text("aB3 ._-()", max_size=6), PLAIN_ENDS)
def test_a_plain_name_is_judged_as_one_with_an_invisible_letter(start: str, end: str) -> None:
    name = start + end
    assert USUAL.has_name(name) == USUAL.has_name(f"\u200b{name}")
