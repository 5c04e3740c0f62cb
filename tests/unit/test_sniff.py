"""What a file is, by its bytes."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import content_types
from shared.reserved import TYPES
from tests.data import images
from tests.data.containers import box, file_type, movie, zip_of
from tests.data.documents import DOCUMENTS, HEAD, WORDS, film, jar, long_json, ooxml, svg
from tests.support.identifying import MAX_LARGE_RANGE_BYTES, MAX_RANGE_BYTES, measure
from worker.decoding.formats import IMAGES
from worker.sniffing.identify import sniff


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(b"", "application/octet-stream", id="row67-empty"),
        pytest.param(b"\0", "application/octet-stream", id="one-byte"),
        pytest.param(images.HTML, "text/html", id="row69-html"),
        pytest.param(images.SVG, "image/svg+xml", id="row70-svg"),
        pytest.param(images.png_with_zip(), "image/png", id="row71-png+zip"),
        pytest.param(images.png_with_html(), "image/png", id="row71-png+html"),
        pytest.param(images.gif_with_script(), "image/gif", id="row71-gif+js"),
        pytest.param(
            images.encode(
                images.quadrants(), "MPO", save_all=True, append_images=[images.quadrants()]
            ),
            "image/jpeg",
            id="row84-mpo",
        ),
        pytest.param(images.encode(images.quadrants(), "TIFF"), "image/tiff", id="row83-tiff"),
    ],
)
def test_a_file_is_named_by_what_it_holds(content: bytes, content_type: str) -> None:
    assert sniff(content) == content_type
    assert measure(content) == (content_type, [])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_shares_a_container_or_only_looks_alike_is_told_apart(name: str) -> None:
    make, _, content_type = DOCUMENTS[name]
    assert measure(make())[0] == content_type


@pytest.mark.parametrize("name", images.MODES)
def test_what_we_can_decode_is_recognised_and_nothing_more_is_asked(name: str) -> None:
    content = images.MODES[name][0]()
    content_type = f"image/{name.partition('-')[0]}"
    assert content_type in IMAGES
    assert measure(content + bytes(3 * HEAD)) == (content_type, [])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(images.ELF, id="elf"),
        pytest.param(images.PE, id="pe"),
        pytest.param(b"@echo off\r\ndel *.*\r\n", id="batch"),
    ],
)
def test_what_a_desktop_would_run_is_reserved(content: bytes) -> None:
    assert sniff(content) in TYPES


RUN_BY_END = [
    name
    for name, (make, _, content_type) in DOCUMENTS.items()
    if content_type in TYPES and len(make()) > 300 and name not in ("exe", "elf")
]


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(name=st.sampled_from(RUN_BY_END), head_bytes=st.integers(512, HEAD))
def test_what_a_desktop_would_run_is_found_however_little_was_read(
    name: str, head_bytes: int
) -> None:
    make, _, content_type = DOCUMENTS[name]
    assert measure(make(), head_bytes)[0] == content_type


@pytest.mark.parametrize("before", [0, 200, 419])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("META-INF/MANIFEST.MF", "java-archive"),
        ("Meta-Inf/manifest.mf", "java-archive"),
        ("AndroidManifest.xml", "vnd.android.package-archive"),
    ],
)
def test_a_program_is_found_wherever_its_manifest_stands_in_4_mib(
    name: str, found: str, before: int
) -> None:
    entries = [(f"{index:010000}", b"") for index in range(419)]
    content = zip_of([*entries[:before], (name, b""), *entries[before:]])
    assert len(content) > 2 * 419 * 10_000 > 1.99 * MAX_LARGE_RANGE_BYTES
    assert measure(content)[0] == f"application/{found}"


@pytest.mark.parametrize("name", ["a/META-INF/MANIFEST.MF", "META-INF/MANIFEST.MF.old"])
def test_a_directory_of_4_mib_makes_no_java_archive_by_names_that_are_like_it(name: str) -> None:
    assert measure(jar(before=200, after=200, name_bytes=9000, manifest=name))[0] == (
        "application/zip"
    )


def test_of_a_directory_of_more_than_4_mib_the_beginning_and_the_end_are_read() -> None:
    for before, found in ((5, "java-archive"), (500, "zip"), (600, "java-archive")):
        content = jar(before=before, after=600 - before, name_bytes=10_000)
        assert measure(content)[0] == f"application/{found}"


def test_macros_are_found_behind_thousands_of_parts() -> None:
    parts = [(f"word/media/{index:01000}", b"") for index in range(600)]
    types, macros = ("[Content_Types].xml", b""), ("word/vbaProject.bin", b"")
    assert measure(zip_of([types, *parts]))[0].endswith("wordprocessingml.document")
    assert measure(zip_of([types, *parts[:300], macros, *parts[300:]]))[0] == (
        "application/vnd.ms-word.document.macroEnabled.12"
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("jpeg", 0),
        ("docx", 0),
        ("text", 0),
        ("json", 0),
        ("mp4", 0),
        ("doc", 0),
        ("pdf", 0),
        ("docx-far", 1),
        ("zip-far", 1),
        ("dmg-far", 1),
        ("msi-far", 1),
        ("json-far", 1),
        ("doc-far", 2),
        ("mp4-audio-far", 2),
    ],
)
def test_no_more_is_asked_for_than_must_be_seen(name: str, count: int) -> None:
    assert len(measure(DOCUMENTS[name][0]())[1]) == count


def test_a_large_document_is_read_at_its_end_and_its_directory_only() -> None:
    content = ooxml("word/document.xml", filling=40 * HEAD, first="a.txt")
    content_type, asked = measure(content)
    assert content_type.endswith("wordprocessingml.document")
    assert sum(end - start for start, end in asked) <= 2 * MAX_RANGE_BYTES < len(content) // 10


@given(words=st.text(alphabet="aä€😀\n", min_size=1), cut=st.integers(0, 3))
@example(words="😀", cut=3)
def test_a_character_that_is_cut_at_the_end_of_what_was_read_changes_nothing(
    words: str, cut: int
) -> None:
    content = (WORDS * 40) + words.encode() * 9000
    assert measure(content, 5000 + cut)[0] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("words", "codec"),
    [
        ("Schöne Grüße", "iso-8859-1"),
        ("Zażółć gęślą jaźń", "iso-8859-2"),
        ("Привет", "cp1251"),
        ("Привет", "koi8-r"),
        ("Καλημέρα", "iso-8859-7"),
        ("日本語", "euc-jp"),
        ("안녕", "euc-kr"),
        ("中文", "gb18030"),
        ("“smart”", "cp1252"),
        ("日本語", "shift-jis"),
    ],
)
def test_no_charset_is_named_that_may_be_another(words: str, codec: str) -> None:
    assert measure((words + "\n").encode(codec) * 30)[0] == "text/plain"
    assert measure((words + ",a,b\n").encode(codec) * 30)[0] == "text/csv"


@pytest.mark.parametrize("name", ["utf-8", "utf-16", "utf-32"])
def test_a_charset_is_named_that_is_certain(name: str) -> None:
    assert measure("Привет, 日本語\n".encode(name) * 30)[0] == f"text/plain; charset={name}"


@pytest.mark.slow
@settings(deadline=None)
@given(head_bytes=st.integers(200, HEAD))
def test_json_is_json_wherever_it_is_cut(head_bytes: int) -> None:
    assert measure(long_json(), head_bytes)[0] == "application/json"


@pytest.mark.parametrize("far", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize(
    "content",
    [
        b"{words} in braces, and more of them\n",
        b"[1] A foot note\n[2] Another\n",
        b'{"a": 1, "b" 2}\n',
        b'{"a": [1, 2}, "b": 3}\n',
        b"[1, 2,, 3]\n",
        b"{'a': 1}\n",
        b'["a\nb"]\n',
        b"[section]\nkey = value\nother = value\n",
        b"[" + b" " * 9000 + b"!\n",
        b"[" * 5000,
    ],
)
def test_what_only_begins_like_json_is_text(content: bytes, far: bool) -> None:
    content = content + WORDS * 2000 if far else content
    assert measure(content)[0] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"a;\nb;\nc;\nd;\n", "text/plain"),
        (b"\tif a:\n\tb = c\n\td = e\n\tf = g\n", "text/plain"),
        (b"a,b\n1,2\n", "text/plain"),
        (b"a,b,c\n1,2\n3,4,5\n6,7,8\n", "text/plain"),
        (b"Dear all,\nthank you, and so on\nbye\n", "text/plain"),
        (b"a, b, c\n1, 2, 3\n4, 5, 6\n", "text/csv"),
        (b'a,"b\nb"\n1,2\n3,4\n', "text/csv"),
        ((b"x" * 4000 + b",b,c\n") * 40, "text/csv"),
        (b'a,b\n1,"2' + b"x" * 2 * HEAD, "text/plain"),
    ],
)
def test_a_table_has_rows_of_the_same_number_of_fields(content: bytes, content_type: str) -> None:
    assert measure(content)[0] == content_type + "; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(b"See %PDF-1.7, as in 1 0 obj.\n", "text/plain; charset=utf-8", id="of-pdf"),
        pytest.param(WORDS * 9 + b"%PDF-1.4 is old.\n", "text/plain; charset=utf-8", id="on-pdf"),
        pytest.param(b"CAF\xc9", "text/plain", id="letter-like-a-cut-one"),
        pytest.param(b"<words> <svg> and more words", "text/plain; charset=utf-8", id="of-svg"),
        pytest.param(WORDS + b"\n<html>\n" + WORDS, "text/plain; charset=utf-8", id="of-html"),
        pytest.param(b"import java.util.*;\n" + WORDS, "text/plain; charset=utf-8", id="of-java"),
        pytest.param(b"#!/usr/bin/python3\nimport os\n", "text/x-script.python", id="python"),
        pytest.param(b"<a:list>\n <b/>\n</a:list>\n", "text/xml", id="xml-to-its-end"),
        pytest.param(b"<list>\n <b/>\n and words", "text/plain; charset=utf-8", id="no-xml"),
        pytest.param(b"<center>words</center", "text/plain; charset=utf-8", id="tag"),
        pytest.param(b"PK\3\4 is a ZIP\n", "application/zip", id="cut-zip"),
        pytest.param(b"<!DOCTYPE note SYSTEM 'a.dtd'>\n<note/>", "text/xml", id="doctype"),
        pytest.param(
            svg("<?xml version='1.0'?>" + "<!---->" * 9000), "image/svg+xml", id="comments"
        ),
        pytest.param(b"<?xml version='1.0'?><!--" + b" " * HEAD, "text/xml", id="open-comment"),
        pytest.param(b"words\n" * 5000 + bytes(9), "application/octet-stream", id="zeros-late"),
        pytest.param(b"words\n" * 5000 + b"\xff\1\2", "application/octet-stream", id="bytes-late"),
    ],
)
def test_a_text_is_named_by_how_it_begins(content: bytes, content_type: str) -> None:
    assert measure(content)[0] == content_type


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (b"", "application/x-desktop"),
        (b"#!/usr/bin/env xdg-open\n", "application/x-desktop"),
        (b"#!/usr/bin/python3\nimport java\n# x\n", "text/x-script.python"),
        (b"#!/usr/bin/python3\n", "application/x-desktop"),
        (b"\xef\xbb\xbf# x\n", "application/x-desktop"),
        (b"\n \t\r\n#\n\n# x\n", "application/x-desktop"),
        (b"# \xe9\n", "application/x-desktop"),
        (b"# x\n" * 9000, "application/x-desktop"),
        (b"# ", "text/plain; charset=utf-8"),
        (b"words\n", "text/plain; charset=utf-8"),
        (b"# x\n" * 9000 + b"x", "text/plain; charset=utf-8"),
    ],
)
def test_a_desktop_entry_is_found_behind_comments_and_empty_lines(
    before: bytes, found: str
) -> None:
    assert measure(before + b"[Desktop Entry]\nType=Application\nExec=sh\n")[0] == found


@pytest.mark.parametrize("space", [b"\n", b" ", b"\r\n", b"\t\n"])
def test_white_space_changes_nothing_of_what_stands_in_it(space: bytes) -> None:
    gap = space * (3000 // len(space))
    assert measure(gap)[0] == "text/plain; charset=utf-8"
    assert measure(gap + b"<p>words</p>")[0] == "text/html"
    assert sniff(b"#!/bin/sh\n" + gap + b"echo\n") == "text/x-shellscript"
    assert sniff(b"%PDF-1.7" + gap) == "application/pdf"


def test_a_film_leaves_ranges_for_an_archive_behind_it() -> None:
    boxes = file_type(b"isom") + box(b"mdat", bytes(2 * HEAD)) + box(b"free", bytes(2 * HEAD))
    behind = jar(before=2000, prefix=boxes + movie(b"soun"))
    assert measure(behind)[0] == "application/java-archive"


def test_a_film_is_sound_only_if_all_its_tracks_were_seen() -> None:
    far = film(b"isom", b"soun", b"soun", b"vide", table_bytes=3 * HEAD, last=True, filling=HEAD)
    assert measure(far)[0] == "video/mp4"


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_it_is_a_well_formed_type(content: bytes) -> None:
    found = sniff(content)
    assert content_types.is_well_formed(found)
    assert found == content_types.essence(found)
    measure(content)


def _bent(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    bent = bytearray(content)
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(len(bent))
        # Most of what tells stands in the first bytes and in the last ones.
        at = chance.choice(
            [at, min(at, chance.randrange(1, 600)), max(0, len(bent) - 1 - at % 600)]
        )
        at = min(at, len(bent) - 1)
        match chance.randrange(4):
            case 0:
                bent[at] ^= 1 << chance.randrange(8)
            case 1:
                bent[at : at + 4] = chance.choice(
                    [b"\xff" * 4, bytes(4), b"\x80\0\0\0", b"\1\0\0\0"]
                )
            case 2:
                del bent[at : at + chance.randrange(1, 40)]
                bent = bent or bytearray(b"\0")
            case _:
                other = chance.randrange(len(bent))
                bent[at:at] = bent[other : other + 100]
    return bytes(bent)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(DOCUMENTS)),
    seed=st.integers(0, 10**9),
    head_bytes=st.sampled_from([1, 8, 64, 600, 4096, HEAD]),
)
def test_a_bent_file_is_named_after_a_few_ranges(name: str, seed: int, head_bytes: int) -> None:
    measure(_bent(DOCUMENTS[name][0](), seed), head_bytes)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(DOCUMENTS)),
    size=st.integers(0, 2**63),
    data=st.data(),
)
def test_whatever_a_store_sends_for_a_range_there_is_an_end(
    name: str, size: int, data: st.DataObject
) -> None:
    content = DOCUMENTS[name][0]()[:HEAD]
    pieces = st.one_of(
        st.binary(max_size=99), st.sampled_from([content, content[-600:], b"PK\1\2" * 9999])
    )
    measure(content, size=max(size, len(content)), answer=lambda start, end: data.draw(pieces))
