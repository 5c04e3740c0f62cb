"""Content types: their syntax, and how browsers treat files of a type."""

import re

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(?:\s*;\s*{_WORD}=(?:{_WORD}|\"[^\"\\\x00-\x1f\x7f]*\"))*", re.ASCII
)


def essence(content_type: str) -> str:
    """Return the type without parameters, in lower case: `Text/HTML; a=b` → `text/html`."""
    return content_type.partition(";")[0].strip().lower()


def is_well_formed(content_type: str) -> bool:
    """Return whether a text is a media type by the grammar of RFC 9110, section 8.3.1."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


RUN_BY_BROWSERS = frozenset(
    {
        # HTML, and XML. `is_run_by_browsers` also checks for types that end in +xml.
        "text/html",
        "text/xml",
        "application/xml",
        "text/xsl",
        "text/rdf",
        "text/xml-external-parsed-entity",
        "application/xml-external-parsed-entity",
        "text/x-server-parsed-html",
        "text/webviewhtml",
        # JavaScript: MIME Sniffing Standard, section 4.6, "JavaScript MIME type"
        "application/ecmascript",
        "application/javascript",
        "application/x-ecmascript",
        "application/x-javascript",
        "text/ecmascript",
        "text/javascript",
        *(f"text/javascript1.{number}" for number in range(6)),
        "text/jscript",
        "text/livescript",
        "text/x-ecmascript",
        "text/x-javascript",
        # containers of pages; each part of them has its own type
        "multipart/x-mixed-replace",
        "multipart/related",
        "message/rfc822",
        "application/x-mimearchive",
        # types that browser plug-ins or older browsers run
        "application/x-shockwave-flash",
        "application/futuresplash",
        "application/x-silverlight-app",
        "text/x-component",
        # WebAssembly: only with this type can a page compile it during the download
        "application/wasm",
        # These mean "no type": for them, the browser looks for HTML in the bytes (same standard,
        # section 7).
        "unknown/unknown",
        "application/unknown",
        "application/x-unknown-content-type",
        "*/*",
    }
)
"""The types that a browser runs, or shows as a page that can contain scripts.

These are the "scriptable MIME types" of the WHATWG MIME Sniffing Standard, section 4.6, without
PDF, because browsers are meant to show PDF. JavaScript and types that older browsers ran are added.
"""


def is_run_by_browsers(content_type: str) -> bool:
    """Return whether a browser may run scripts in a file of this type.

    The type's case and parameters are ignored.
    """
    name = essence(content_type)
    return name in RUN_BY_BROWSERS or name.endswith("+xml")


OCTETS = "binary/octet-stream"
"""The type that S3 gives to an object without a type. `application/octet-stream` is not used,
because SeaweedFS 4.48 treats it as no type: it guesses a type from the extension, and serves
`a.html` as `text/html`."""

_BY_EXTENSION = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "pdf": "application/pdf",
}


def public_type(content_type: str | None, file_name: str) -> str:
    """Return the content type with which to store an object that clients read from the store.

    The result is the declared type, or OCTETS if that type is application/octet-stream or a type
    that browsers run. Without a declared type, the extension of the file name gives one of INLINE,
    or else OCTETS. A type must always be given. Otherwise the store would guess one, or use the
    type of the form's file part, which the uploader chooses.
    """
    if content_type is None:
        _, dot, extension = file_name.rpartition(".")
        return _BY_EXTENSION.get(extension.lower(), OCTETS) if dot else OCTETS
    if is_run_by_browsers(content_type) or essence(content_type) == "application/octet-stream":
        return OCTETS
    return content_type


INLINE = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "application/pdf"}
)
"""The types that a browser may show in the page: raster images and PDF. Types that can contain a
script are left out."""
