"""The scenarios that come with viva."""
