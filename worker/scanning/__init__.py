"""The scan of uploads for malware, before anything of them is opened."""
