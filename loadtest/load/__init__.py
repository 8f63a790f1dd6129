"""`viva load`: simulated users in numbers, and what they saw, as figures."""
