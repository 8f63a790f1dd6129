"""The servers that viva is held against. Each takes its provider and port from the environment."""
