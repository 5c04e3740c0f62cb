"""The description of the API, for machines at /openapi.json and for readers at /docs."""
