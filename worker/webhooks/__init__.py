"""The couriers of a worker, which send webhook deliveries."""
