"""Tests of the SQL statements of webhooks and deliveries. The tests need only a database."""
