"""The routes of webhooks and their deliveries, and the checks of their requests."""
