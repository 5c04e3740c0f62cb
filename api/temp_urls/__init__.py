"""What a `temp_url` leads to: the object that it names, the check of that object, and its copy."""
