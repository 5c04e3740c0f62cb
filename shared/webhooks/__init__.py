"""Webhooks: signed messages about attachments to the servers of organizations."""
