"""`python -m loadtest.bench`: what a token and an interview cost, beside peers in the same run."""
