"""One suite over every backend of the live store."""
