"""Webhooks: signed messages about attachments that are sent to the servers of organizations."""
