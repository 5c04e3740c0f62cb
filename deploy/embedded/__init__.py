"""PostgreSQL, Valkey and SeaweedFS out of wheels: the real servers, for one machine and for tests.

Each class is one server in one directory, on loopback, with the credentials and ports that it is
given. `start` may be repeated on the same directory and finds the same data; `stop` ends it well,
`kill` as a crash would.
"""
