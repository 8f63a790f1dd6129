"""The archive on PostgreSQL ≥ 14: transcripts, what rebuilds an interview, the ledger."""
