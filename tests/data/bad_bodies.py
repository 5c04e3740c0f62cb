"""Request bodies that are not valid documents of an attachment.

The name of each body begins with the number of its row in the table of bad inputs (limits.md).
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

Case = TypeVar("Case")

MAX_SIZE = 314_572_800


def one_of_each_row(cases: Mapping[str, Case]) -> dict[str, Case]:
    """Return the first case of each row, which is enough for tests of a whole server."""
    first: dict[str, str] = {}
    for name in cases:
        first.setdefault(name.partition("-")[0], name)
    return {name: cases[name] for name in first.values()}


def document(**attributes: Any) -> dict[str, Any]:
    """Make the JSON:API document of a create request: a file name and these attributes."""
    return {"data": {"type": "attachments", "attributes": {"name": "img.png", **attributes}}}


def body_of(**attributes: Any) -> bytes:
    """Make the body of a create request: a file name and these attributes."""
    return json.dumps(document(**attributes)).encode()


def with_size(literal: str) -> bytes:
    """Make the body of a create request with `literal` as `size`; it need not be valid JSON."""
    return b'{"data":{"type":"attachments","attributes":{"name":"a.png","size":%s}}}' % (
        literal.encode()
    )


BODIES: dict[str, tuple[bytes, int]] = {
    "row01-empty": (b"", 400),
    "row01-blank": (b" \r\n\t", 400),
    "row02-cut-short": (b'{"data":', 400),
    "row02-no-json": (b"name=img.png", 400),
    "row02-trailing-comma": (b'{"data":{},}', 400),
    "row02-single-quotes": (b"{'data': {}}", 400),
    "row02-two-documents": (body_of() * 2, 400),
    "row02-comment": (body_of() + b"// done", 400),
    "row02-raw-newline-in-string": (body_of(name="A").replace(b'"A"', b'"a\nb"'), 400),
    "row02-raw-nul-in-string": (body_of(name="A").replace(b'"A"', b'"a\0b"'), 400),
    "row02-nul-after-document": (body_of() + b"\0", 400),
    "row02-bad-escape": (body_of(name="A").replace(b'"A"', b'"\\x41"'), 400),
    "row02-unquoted-key": (b"{data:{}}", 400),
    "row02-python-literal": (b'{"data": None}', 400),
    "row03-lone-byte": (body_of(name="A").replace(b'"A"', b'"\xff"'), 400),
    "row03-latin-1": (body_of(name="A").replace(b'"A"', b'"caf\xe9"'), 400),
    "row03-overlong": (body_of(name="A").replace(b'"A"', b'"\xc0\xaf"'), 400),
    "row03-encoded-surrogate": (body_of(name="A").replace(b'"A"', b'"\xed\xa0\x80"'), 400),
    "row03-beyond-unicode": (body_of(name="A").replace(b'"A"', b'"\xf4\x90\x80\x80"'), 400),
    "row03-utf-16": (body_of().decode().encode("utf-16-le"), 400),
    "row04-utf-8-bom": (b"\xef\xbb\xbf" + body_of(), 400),
    "row04-utf-16-bom": (body_of().decode().encode("utf-16"), 400),
    "row06-deep-arrays": (b"[" * 30_000, 400),
    "row06-deep-closed-arrays": (b"[" * 30_000 + b"]" * 30_000, 400),
    "row06-deep-objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "row06-deep-in-attribute": (with_size("[" * 20_000 + "]" * 20_000), 400),
    "row06-a-level-too-deep": (b"[" * 65 + b"]" * 65, 400),
    "row06-quotes-do-not-hide-depth": (b'["\\"",' + b"[" * 1000 + b"]" * 1001, 400),
    "row07-5000-digits": (with_size("9" * 5000), 400),
    "row07-5000-digits-negative": (with_size("-" + "9" * 5000), 400),
    "row07-5000-digits-as-id": (
        body_of(attachable_id=1).replace(b": 1}", b": %s}" % (b"1" * 5000)),
        400,
    ),
    "row07-5000-digits-in-unknown": (body_of(x=1).replace(b": 1}", b": %s}" % (b"1" * 5000)), 400),
    "row07-5000-digits-of-fraction-overflow": (with_size("1" * 5000 + ".5"), 400),
    "row08-nan": (with_size("NaN"), 400),
    "row08-infinity": (with_size("Infinity"), 400),
    "row08-minus-infinity": (with_size("-Infinity"), 400),
    "row08-1e400": (with_size("1e400"), 400),
    "row08-minus-1e400": (with_size("-1e400"), 400),
    "row08-1e400-in-unknown": (body_of(x=1).replace(b": 1}", b": 1e400}"), 400),
    "row09-key-twice-at-top": (b'{"data":{},"data":{"type":"attachments"}}', 400),
    "row09-key-twice-in-data": (b'{"data":{"type":"attachments","type":"attachments"}}', 400),
    "row09-key-twice-in-attributes": (
        b'{"data":{"type":"attachments","attributes":{"name":"a","name":"b"}}}',
        400,
    ),
    "row09-key-twice-once-escaped": (
        b'{"data":{"type":"attachments","attributes":{"name":"a","n\\u0061me":"b"}}}',
        400,
    ),
    "row10-array": (b"[%s]" % body_of(), 400),
    "row10-empty-array": (b"[]", 400),
    "row10-null": (b"null", 400),
    "row10-number": (b"1", 400),
    "row10-string": (b'"data"', 400),
    "row10-true": (b"true", 400),
    "row11-no-data": (b"{}", 400),
    "row11-meta-only": (b'{"meta":{}}', 400),
    "row11-data-null": (b'{"data":null}', 400),
    "row11-data-array": (b'{"data":[]}', 400),
    "row11-data-string": (b'{"data":"attachments"}', 400),
    "row11-no-type": (b'{"data":{"attributes":{"name":"img.png"}}}', 400),
    "row11-attributes-null": (b'{"data":{"type":"attachments","attributes":null}}', 400),
    "row11-attributes-array": (b'{"data":{"type":"attachments","attributes":[]}}', 400),
    "row11-no-attributes": (b'{"data":{"type":"attachments"}}', 422),
    "row12-singular": (b'{"data":{"type":"attachment","attributes":{"name":"a"}}}', 409),
    "row12-other": (b'{"data":{"type":"comments","attributes":{"name":"a"}}}', 409),
    "row12-upper-case": (b'{"data":{"type":"Attachments","attributes":{"name":"a"}}}', 409),
    "row12-null": (b'{"data":{"type":null,"attributes":{"name":"a"}}}', 409),
    "row12-object": (b'{"data":{"type":{},"attributes":{"name":"a"}}}', 409),
    "row12-surrogate": (b'{"data":{"type":"\\ud800","attributes":{"name":"a"}}}', 409),
    "row13-client-id": (b'{"data":{"type":"attachments","id":"1","attributes":{"name":"a"}}}', 403),
    "row13-client-id-null": (
        b'{"data":{"type":"attachments","id":null,"attributes":{"name":"a"}}}',
        403,
    ),
    "row17-lf-in-name": (body_of(name="a\nb.png"), 422),
    "row17-cr-in-name": (body_of(name="a\rb.png"), 422),
    "row17-crlf-in-name": (body_of(name="a.png\r\nSet-Cookie: a=b"), 422),
    "row17-nul-in-name": (body_of(name="a.png\0.exe"), 422),
    "row20-lone-high-surrogate": (body_of(name="\ud800.png"), 422),
    "row20-lone-low-surrogate": (body_of(name="a\udfff.png"), 422),
    "row20-surrogates-swapped": (body_of(name="\udc00\ud800"), 422),
    "row20-in-message-id": (body_of(message_id="\ud800"), 422),
    "row20-in-external-id": (body_of(external_id="\ud800"), 422),
    "row20-in-content-type": (body_of(content_type="image/\ud800"), 422),
    "row20-in-attachable-type": (body_of(attachable_type="\ud800"), 422),
    "row20-in-attachment-type": (body_of(attachment_type="\ud800"), 422),
    "row20-in-temp-url": (body_of(temp_url="https://a/\ud800"), 422),
    "row21-10-kb-name": (body_of(name="a" * 10_240), 422),
    "row21-256-characters": (body_of(name="a" * 256), 422),
    "row21-256-wide-characters": (body_of(name="𝒜" * 256), 422),
    "row21-10-kb-message-id": (body_of(message_id="a" * 10_240), 422),
    "row21-10-kb-external-id": (body_of(external_id="a" * 10_240), 422),
    "row21-10-kb-content-type": (body_of(content_type="image/" + "a" * 10_240), 422),
    "row21-10-kb-attachable-type": (body_of(attachable_type="a" * 10_240), 422),
    "row21-10-kb-temp-url": (body_of(temp_url="https://a/" + "a" * 10_240), 422),
    "row23-nul-in-message-id": (body_of(message_id="a\0"), 422),
    "row23-nul-in-external-id": (body_of(external_id="\0"), 422),
    "row23-nul-in-content-type": (body_of(content_type="image/png\0"), 422),
    "row23-nul-in-attachable-type": (body_of(attachable_type="comment\0"), 422),
    "row23-nul-in-attachment-type": (body_of(attachment_type="inline\0"), 422),
    "row23-nul-in-temp-url": (body_of(temp_url="https://a/\0"), 422),
    "row27-size-true": (body_of(size=True), 422),
    "row27-size-false": (body_of(size=False), 422),
    "row27-size-1.0": (body_of(size=1.0), 422),
    "row27-size-1.9": (body_of(size=1.9), 422),
    "row27-size-1e2": (with_size("1e2"), 422),
    "row27-size-word": (body_of(size="12 kB"), 422),
    "row27-size-fraction-as-text": (body_of(size="1.5"), 422),
    "row27-size-arabic-digits": (body_of(size="١٢"), 422),
    "row27-size-41-digits-as-text": (body_of(size="1" * 41), 422),
    "row27-size-array": (body_of(size=[1]), 422),
    "row27-size-object": (body_of(size={}), 422),
    "row27-attachable-id-true": (body_of(attachable_id=True), 422),
    "row27-attachable-id-1.0": (body_of(attachable_id=1.0), 422),
    "row27-attachable-id-word": (body_of(attachable_id="5a"), 422),
    "row27-attachable-id-zero-as-text": (body_of(attachable_id="0"), 422),
    "row27-attachable-id-2-to-the-63-as-text": (body_of(attachable_id=str(2**63)), 422),
    "row27-attachable-id-array": (body_of(attachable_id=[5]), 422),
    "row27-attachable-id-zero": (body_of(attachable_id=0), 422),
    "row27-attachable-id-negative": (body_of(attachable_id=-5), 422),
    "row27-attachable-id-2-to-the-63": (body_of(attachable_id=2**63), 422),
    "row27-name-number": (body_of(name=5), 422),
    "row27-name-object": (body_of(name={"a": 1}), 422),
    "row27-name-true": (body_of(name=True), 422),
    "row27-attachable-type-array": (body_of(attachable_type=["comment"]), 422),
    "row27-message-id-fraction": (body_of(message_id=5.5), 422),
    "row27-external-id-true": (body_of(external_id=True), 422),
    "row27-temp-url-number": (body_of(temp_url=5), 422),
    "row28-negative": (body_of(size=-1), 422),
    "row28-over-the-limit": (body_of(size=MAX_SIZE + 1), 422),
    "row28-2-to-the-63": (body_of(size=2**63), 422),
    "row28-40-digits": (body_of(size=10**39), 422),
    "row28-40-digits-negative": (body_of(size=-(10**38)), 422),
    "row29-reserved": (body_of(content_type="application/x-msdownload"), 422),
    "row29-reserved-upper-case": (body_of(content_type="Application/X-MSDownload"), 422),
    "row29-reserved-parameter": (body_of(content_type="application/x-msdownload; a=b"), 422),
    "row29-reserved-bare-semicolon": (body_of(content_type="application/x-msdownload;"), 422),
    "row29-reserved-blanks": (body_of(content_type="  application/x-msdownload\t; a=b"), 422),
    "row29-reserved-installer": (body_of(content_type="application/x-msi"), 422),
    "row29-reserved-script": (body_of(content_type="application/x-bat"), 422),
    "row29-malformed": (body_of(content_type="image"), 422),
    "row29-malformed-list": (body_of(content_type="image/png, application/x-msdownload"), 422),
}

"""Bodies of create requests by name, each with the status of the answer."""

PATCHABLE = {
    name: value
    for name, value in BODIES.items()
    # The other cases are left out, because a PATCH request has other rules: the name is optional,
    # an id is allowed, and `size` and `content_type` are ignored.
    if not name.startswith(("row13", "row28", "row29"))
    and "size" not in name
    and "content-type" not in name
    and name not in ("row11-no-attributes",)
}
"""The cases whose bodies a PATCH request also refuses, with the same status."""
