"""Thumbnails in several styles from one decode: images, drawings and documents."""

import io
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.facts import Picture, Thumbnail
from tests.data import images, pdfs
from tests.support.thumbnails import FORMATS, looks_like
from worker.decoding.inside import images as inside
from worker.decoding.inside import pdf, svg
from worker.decoding.inside.costs import BUDGET, of_sizes
from worker.decoding.inside.shrinking import fitting

pytestmark = pytest.mark.slow
EDGES = (320, 1024, 640, 2000)

Make = Callable[[io.BytesIO, Sequence[int]], Thumbnail]

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40">'
    b'<rect width="60" height="40" fill="white"/>'
    b'<rect x="5" y="5" width="50" height="30" fill="red"/></svg>'
)


def of_image(file: io.BytesIO, edges: Sequence[int]) -> Thumbnail:
    """Make the thumbnails of an image."""
    return inside.make_thumbnail(file, edges=edges)


MAKERS: dict[str, tuple[Make, bytes, tuple[int, int]]] = {
    **{
        kind: (of_image, images.encode(images.quadrants(1500, 900), kind), (1500, 900))
        for kind in (*FORMATS, "GIF", "BMP")
    },
    "alpha": (of_image, images.MODES["png-rgba"][0](), (120, 80)),
    "turned": (of_image, images.oriented(6, width=1200, height=800), (1200, 800)),
    "small": (of_image, images.encode(images.quadrants(), "PNG"), (120, 80)),
    "svg": (svg.make_thumbnail, SVG, (6000, 4000)),
    "pdf": (pdf.make_thumbnail, pdfs.plain(box="0 0 600 400"), (6000, 4000)),
}
"""For each kind of file: the function, a file, and the maximum size of its thumbnails."""


def opened(picture: Picture) -> Image.Image:
    """Return a thumbnail as an image."""
    image = Image.open(io.BytesIO(picture.body))
    image.load()
    return image


@pytest.mark.parametrize("name", MAKERS)
def test_each_style_fits_its_edge_and_shows_the_same(name: str) -> None:
    make, content, largest = MAKERS[name]
    made = make(io.BytesIO(content), EDGES)
    assert len(made.pictures) == len(EDGES)
    shown = [opened(each) for each in made.pictures]
    for edge, picture, image in zip(EDGES, made.pictures, shown, strict=True):
        scale = min(1.0, edge / max(largest))
        wanted = tuple(round(side * scale) for side in largest)
        assert image.size == (picture.width, picture.height)
        assert all(abs(one - other) <= 1 for one, other in zip(image.size, wanted, strict=True))
        assert picture.content_type == Image.MIME[image.format or ""]
        assert looks_like(image.resize(shown[0].size), shown[0], within=3)
        assert not {"exif", "icc_profile", "xmp", "comment"} & image.info.keys()


@pytest.mark.parametrize("name", MAKERS)
def test_facts_do_not_depend_on_the_styles(name: str) -> None:
    make, content, _ = MAKERS[name]
    alone, among = make(io.BytesIO(content), (320,)), make(io.BytesIO(content), EDGES)
    assert (among.facts.width, among.facts.height, among.facts.pages, among.reason) == (
        alone.facts.width,
        alone.facts.height,
        alone.facts.pages,
        alone.reason,
    )
    assert among.content_type == alone.content_type
    assert among.extension == alone.extension


def test_thumb_alone_has_the_same_bytes_as_without_styles() -> None:
    content = images.encode(images.noise(1500, 900), "JPEG")
    assert of_image(io.BytesIO(content), (320,)) == inside.make_thumbnail(io.BytesIO(content))


def test_thumb_among_styles_is_as_sharp_as_alone() -> None:
    content = images.gradient_photo(2400, 1600)
    alone = opened(of_image(io.BytesIO(content), (320,)).pictures[0])
    among = opened(of_image(io.BytesIO(content), (320, 1024)).pictures[0])
    assert among.size == alone.size
    assert looks_like(among, alone, within=2)


def test_styles_of_a_small_image_are_one_picture() -> None:
    content = images.encode(images.quadrants(), "PNG")
    made = of_image(io.BytesIO(content), EDGES)
    assert len({each.body for each in made.pictures}) == 1


def test_each_style_has_its_own_format_where_the_size_decides_it() -> None:
    # If the original is lossless, a thumbnail of the same size is a PNG, a smaller one a JPEG.
    content = images.encode(images.quadrants(640, 480), "BMP")
    made = of_image(io.BytesIO(content), (320, 640))
    assert [each.extension for each in made.pictures] == ["jpg", "png"]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    edges=st.lists(st.integers(16, 600), min_size=1, max_size=4),
    kind=st.sampled_from(FORMATS),
)
@example(width=1, height=700, edges=[320, 16], kind="PNG")
@example(width=700, height=1, edges=[16, 600], kind="JPEG")
def test_no_style_is_larger_than_its_edge_or_than_the_original(
    width: int, height: int, edges: list[int], kind: str
) -> None:
    content = images.encode(Image.new("RGB", (width, height), images.RED), kind)
    made = of_image(io.BytesIO(content), edges)
    assert [(each.width, each.height) for each in made.pictures] == [
        fitting(width, height, edge) for edge in edges
    ]
    for edge, each in zip(edges, made.pictures, strict=True):
        assert 1 <= each.width <= min(edge, width)
        assert 1 <= each.height <= min(edge, height)
        assert opened(each).size == (each.width, each.height)


def test_the_largest_styles_that_are_allowed_are_within_the_budget() -> None:
    costs = of_sizes([(2048, 2048)] * 5)
    assert not costs.exceeds(BUDGET)
    assert costs.memory_bytes > 5 * 4 * 2048**2
    assert of_sizes([]).memory_bytes == of_sizes([]).cpu_s == 0
