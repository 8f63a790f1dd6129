-- How far the primary has written its log.
SELECT pg_current_wal_lsn()::text
