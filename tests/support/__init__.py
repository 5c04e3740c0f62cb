"""Shared parts of the tests: servers, processes, requests, and queries that read rows."""
