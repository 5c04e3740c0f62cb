"""How the preview picture of a document is packed in the document's file."""

from typing import Literal

Packing = Literal["stored", "deflated", "dib"]
"""`stored`: not packed. `deflated`: as in RFC 1951. `dib`: a BMP without its file header. The
process that identifies types reports one of these values. The sandbox for images unpacks the
picture."""
