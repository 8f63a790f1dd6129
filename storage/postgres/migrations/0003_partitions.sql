-- Makes the monthly partitions from `from_month` on where they are missing; returns how many it made.
--
-- A partition is made apart and then attached: that takes a lock on the parent under which everybody
-- goes on reading and writing, where CREATE TABLE … PARTITION OF would stop them. Months are UTC.
CREATE FUNCTION ensure_partitions(from_month timestamptz, months integer) RETURNS integer
  LANGUAGE plpgsql
  SET timezone = 'UTC'
AS $$
DECLARE
  parent regclass;
  home text;
  name text;
  first timestamptz;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['interviews', 'turns', 'commands', 'ledger']::regclass[] LOOP
    SELECT nspname INTO home
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = parent;
    FOR i IN 0 .. months - 1 LOOP
      first := date_trunc('month', from_month) + make_interval(months => i);
      name := (SELECT relname FROM pg_class WHERE oid = parent) || to_char(first, '_YYYY_MM');
      CONTINUE WHEN to_regclass(format('%I.%I', home, name)) IS NOT NULL;
      -- Only those who find something to make wait for each other; then they look again.
      PERFORM pg_advisory_xact_lock(hashtextextended('viva partitions', 0));
      CONTINUE WHEN to_regclass(format('%I.%I', home, name)) IS NOT NULL;
      EXECUTE format('CREATE TABLE %I.%I (LIKE %s INCLUDING ALL)', home, name, parent);
      IF parent = 'interviews'::regclass THEN
        -- Room for the next snapshot beside the last: an update then touches no index.
        EXECUTE format('ALTER TABLE %I.%I SET (fillfactor = 70)', home, name);
      END IF;
      EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
        parent, home, name, first, first + interval '1 month');
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
