"""The description of the API for machines and readers: /openapi.json and /docs."""
