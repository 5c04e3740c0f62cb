"""Shared parts of tests: servers, processes, requests, and queries of rows."""
