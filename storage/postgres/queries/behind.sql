-- Whether a replica has all that the primary had written up to a position, and of when its last transaction is: that
-- alone would tell nothing, since it grows old as well where nothing is written. One that was promoted writes itself.
SELECT
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
    >= %(written)s::pg_lsn,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
