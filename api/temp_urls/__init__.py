"""What a `temp_url` names, whether it may be taken, and how its object comes to an attachment."""
