"""Everything about `temp_url`: which object it names, whether it may be copied, and the copy."""
