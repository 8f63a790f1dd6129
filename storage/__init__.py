"""Where interviews live: Redis while they are live, PostgreSQL for good.

Adapters only: what a backend throws is translated once, at this edge, into `storage.errors`.
"""
