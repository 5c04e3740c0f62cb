"""The scan of uploads for malware, before any of their bytes are parsed."""
