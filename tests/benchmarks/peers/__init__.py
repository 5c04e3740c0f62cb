"""Other programs that do the service's work, as a team would write them, for comparison."""
