"""PostgreSQL, Valkey and SeaweedFS from wheels: the real servers, for one machine and for tests.

Each class is one server with its own directory. It listens on loopback, with the given credentials
and ports. `start` may be repeated with the same directory and finds the same data. `stop` ends the
server cleanly; `kill` ends it like a crash.
"""
