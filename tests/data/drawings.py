"""SVG drawings that code makes: valid drawings, costly ones, and some that refer to other files."""

from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.data.images import encode, quadrants
from tests.data.pieces import deflated_zeros, gzipped_zeros, png, png_chunk, png_header
from tests.data.sample import ANY_OUTCOME, EXPENSIVE, READY, Outcome, Sample, ready

SVG_TYPE: Final = "image/svg+xml"

_NAMESPACES: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

QUADRANTS: Final = (
    '<rect width="60" height="40" fill="#f00"/><rect x="60" width="60" height="40" fill="#0f0"/>'
    '<rect y="40" width="60" height="40" fill="#00f"/>'
    '<rect x="60" y="40" width="60" height="40" fill="#fff"/>'
)
"""Rectangles of red, green, blue and white that fill an area of 120 × 80."""


def svg(
    content: str = QUADRANTS, *, size: str = 'width="120" height="80"', before: str = ""
) -> bytes:
    """Write a drawing. `size` has the attributes of its width and height. `before` precedes it."""
    return f"{before}<svg {_NAMESPACES} {size}>{content}</svg>".encode()


def picture(address: str) -> str:
    """Write an image element that fills the drawing and shows the file at this address."""
    return f'<image width="120" height="80" preserveAspectRatio="none" xlink:href="{address}"/>'


def data_url(content: bytes, content_type: str = "image/png") -> str:
    """Write a data URL, which contains the bytes of the file."""
    return f"data:{content_type};base64,{b64encode(content).decode()}"


def with_picture() -> bytes:
    """Write a drawing that holds a PNG of four colours."""
    return svg(picture(data_url(encode(quadrants(), "PNG"))))


def filtered(primitive: str) -> str:
    """Write a rectangle with a filter that has the single step `primitive`."""
    return f'<filter id="f">{primitive}</filter><rect width="99" height="80" filter="url(#f)"/>'


def multiplying(levels: int) -> str:
    """Write nested groups. Each group uses the previous group ten times.

    So the last group draws 10 to the power of `levels` rectangles.
    """
    groups = ['<g id="g0"><rect width="9" height="9"/></g>']
    for level in range(1, levels + 1):
        uses = f'<use xlink:href="#g{level - 1}"/>' * 10
        groups.append(f'<g id="g{level}">{uses}</g>')
    return f"<defs>{''.join(groups)}</defs>" + f'<use xlink:href="#g{levels}"/>'


def entities(levels: int) -> bytes:
    """Write XML entities. Each entity contains the previous entity ten times."""
    declared = '<!ENTITY e0 "lol">' + "".join(
        f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, levels + 1)
    )
    return svg(f"<text>&e{levels};</text>", before=f"<!DOCTYPE svg [{declared}]>")


def _hostile(
    title: str, content: str | bytes | Callable[[], bytes], allowed: frozenset[Outcome]
) -> Sample:
    """Describe a drawing of row 74.

    `content` is the drawing's content, the bytes of the whole file, or a function that makes these
    bytes at the first use, because some take seconds to make.
    """
    if not callable(content):
        content = partial(bytes, svg(content) if isinstance(content, str) else content)
    return Sample(
        row=74,
        title=f"svg-{title}",
        draw=content,
        file_name="a.svg",
        allowed=allowed,
        content_types=frozenset({SVG_TYPE}),
        never_inline=True,
    )


LAYERS: Final = svg(
    '<g opacity=".9">' * 900 + '<path d="M0 0h120v120z"/>' + "</g>" * 900,
    size='width="120" height="120"',
)
"""The renderer draws each layer as 640 × 640 pixels of four bytes, so all layers need 1.4 GiB."""

DEEP: Final = "<g>" * 100_000 + "</g>" * 100_000
HUGE_PICTURE: Final = picture(
    data_url(png(png_header(30_000, 30_000), png_chunk(b"IDAT", deflated_zeros(1))))
)
BROKEN: Final = ready("damaged")

SAMPLES: Final[tuple[Sample, ...]] = (
    _hostile("uses-itself", '<g id="a"><use xlink:href="#a"/></g>', READY),
    _hostile(
        "uses-in-a-circle",
        '<g id="a"><use xlink:href="#b"/></g><g id="b"><use xlink:href="#a"/></g>',
        EXPENSIVE,
    ),
    _hostile("10-million-uses", multiplying(7), EXPENSIVE),
    _hostile("100000-groups-deep", DEEP, EXPENSIVE),
    _hostile("900-layers", LAYERS, EXPENSIVE),
    _hostile("entities-multiply", entities(9), BROKEN),
    _hostile("million-elements", "<g/>" * 1_100_000, EXPENSIVE),
    _hostile(
        "turbulence",
        filtered('<feTurbulence baseFrequency=".1" numOctaves="9999999"/>'),
        EXPENSIVE,
    ),
    _hostile("10000-filters", filtered('<feGaussianBlur stdDeviation="9"/>' * 10_000), EXPENSIVE),
    _hostile("picture-of-30000", HUGE_PICTURE, EXPENSIVE),
    _hostile(
        "compressed-bomb", lambda: svg(picture(data_url(gzipped_zeros(900), SVG_TYPE))), ANY_OUTCOME
    ),
)
