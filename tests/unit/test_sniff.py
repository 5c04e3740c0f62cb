"""The worker finds a file's type from few byte ranges of its content."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import content_types
from tests.data import images
from tests.data.containers import box, file_type, movie
from tests.data.documents import DOCUMENTS
from tests.data.writing import HEAD, film, jar, ooxml
from tests.support.identifying import MAX_RANGE_BYTES, measure
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
def test_a_file_gets_its_type_from_its_content(content: bytes, content_type: str) -> None:
    assert sniff(content) == content_type
    assert measure(content) == (content_type, [])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_types_that_share_a_container_or_look_alike_are_distinguished(name: str) -> None:
    make, _, content_type = DOCUMENTS[name]
    assert measure(make())[0] == content_type


@pytest.mark.parametrize("name", images.MODES)
def test_decodable_types_are_recognised_without_further_reads(name: str) -> None:
    content = images.MODES[name][0]()
    content_type = f"image/{name.partition('-')[0]}"
    assert content_type in IMAGES
    assert measure(content + bytes(3 * HEAD)) == (content_type, [])


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


def test_a_film_leaves_ranges_for_an_archive_after_it() -> None:
    boxes = file_type(b"isom") + box(b"mdat", bytes(2 * HEAD)) + box(b"free", bytes(2 * HEAD))
    behind = jar(before=2000, prefix=boxes + movie(b"soun"))
    assert measure(behind)[0] == "application/java-archive"


def test_a_film_is_sound_only_if_all_its_tracks_were_seen() -> None:
    far = film(b"isom", b"soun", b"soun", b"vide", table_bytes=3 * HEAD, last=True, filling=HEAD)
    assert measure(far)[0] == "video/mp4"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_well_formed_type(content: bytes) -> None:
    found = sniff(content)
    assert content_types.is_well_formed(found)
    assert found == content_types.essence(found)
    measure(content)


def _bent(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    bent = bytearray(content)
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(len(bent))
        # The bytes that determine the type are mostly at the start or the end of a file. So about
        # two thirds of the changed bytes are there.
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
def test_reading_ends_for_every_answer_to_a_range(
    name: str, size: int, data: st.DataObject
) -> None:
    content = DOCUMENTS[name][0]()[:HEAD]
    pieces = st.one_of(
        st.binary(max_size=99), st.sampled_from([content, content[-600:], b"PK\1\2" * 9999])
    )
    measure(content, size=max(size, len(content)), answer=lambda start, end: data.draw(pieces))
