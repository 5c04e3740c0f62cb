"""Sends the deliveries of webhooks: the couriers of a worker."""
