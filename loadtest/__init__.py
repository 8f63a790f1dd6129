"""Simulated candidates, a fake provider, fault injection and their reports."""
