"""Statements of webhooks and deliveries, with only a database."""
