"""Content types: how a declared one must look, and what browsers do with files of a type."""

import re

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(?:\s*;\s*{_WORD}=(?:{_WORD}|\"[^\"\\\x00-\x1f\x7f]*\"))*", re.ASCII
)


def essence(content_type: str) -> str:
    """Give the type without parameters, in lower case: `Text/HTML; a=b` → `text/html`."""
    return content_type.partition(";")[0].strip().lower()


def is_well_formed(content_type: str) -> bool:
    """Whether it is `type/subtype` with parameters by the grammar of RFC 9110, section 8.3.1."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


RUN_BY_BROWSERS = frozenset(
    {
        # HTML, and XML without a suffix; types that end in +xml are told by their end
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
        # containers of pages: each part has a type of its own
        "multipart/x-mixed-replace",
        "multipart/related",
        "message/rfc822",
        "application/x-mimearchive",
        # what plug-ins and older browsers run
        "application/x-shockwave-flash",
        "application/futuresplash",
        "application/x-silverlight-app",
        "text/x-component",
        # WebAssembly: a page compiles it while it loads, from this type and no other
        "application/wasm",
        # no type at all: the browser looks for HTML in the bytes (same standard, section 7)
        "unknown/unknown",
        "application/unknown",
        "application/x-unknown-content-type",
        "*/*",
    }
)
"""What a browser runs, or shows as a page that can hold scripts, if a server calls a file so.

The "scriptable MIME types" of the WHATWG MIME Sniffing Standard, section 4.6, without PDF, which is
shown in the browser by design; also JavaScript, and what other browsers have run.
"""


def is_run_by_browsers(content_type: str) -> bool:
    """Whether a browser may run scripts in a file of this type; case and parameters are ignored."""
    name = essence(content_type)
    return name in RUN_BY_BROWSERS or name.endswith("+xml")


OCTETS = "binary/octet-stream"
"""What S3 calls an object without a type. SeaweedFS 4.48 takes `application/octet-stream` for no
type and guesses one by the extension: it serves `a.html` as `text/html` then."""

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
    """Give the type that an object must be stored with where the store's own type is served.

    It is what was declared. Without that it is a type of INLINE by the extension, else OCTETS: a
    store would otherwise guess, or take the type of the form's file part, which the uploader sets.
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
"""What a browser may show in its window: raster images and PDF, nothing that can hold a script."""
