"""The routes of webhooks and their deliveries, and what a request for them may hold."""
