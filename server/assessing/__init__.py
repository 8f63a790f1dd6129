"""Ratings and reports in the background: orders, the queue's workers, and what they do."""
