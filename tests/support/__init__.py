"""Parts that several tests share: servers, processes, requests, and queries that read rows."""
