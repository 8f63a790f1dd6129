SELECT pg_advisory_xact_lock(hashtextextended('viva migrations', 0))
