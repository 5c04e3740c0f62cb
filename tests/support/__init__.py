"""What tests have in common: servers, processes, requests, and what is asked of rows."""
