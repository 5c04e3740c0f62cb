"""The kinds of object that an attachment may belong to."""

ATTACHABLE_TYPES = (
    "invoice",
    "purchase_order",
    "bill",
    "email",
    "page",
    "expense",
    "comment",
    "task",
    "document_style",
    "document_type",
    "deal",
    "booking",
    "widget",
)
"""The kinds of object in a client's application. See contract.md."""
