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
  home oid;
  name text;
  place text;
  first timestamptz;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['interviews', 'turns', 'commands', 'ledger']::regclass[] LOOP
    SELECT relnamespace INTO home FROM pg_class WHERE oid = parent;
    FOR i IN 0 .. months - 1 LOOP
      first := date_trunc('month', from_month) + make_interval(months => i);
      name := (SELECT relname FROM pg_class WHERE oid = parent) || to_char(first, '_YYYY_MM');
      CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = home);
      -- Only those who find something to make wait for each other; then they look again, by a query:
      -- `to_regclass` would answer from what this session remembers of the first look.
      PERFORM pg_advisory_xact_lock(hashtextextended('viva partitions', 0));
      CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = home);
      place := format('%s.%I', home::regnamespace, name);
      EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', place, parent);
      IF parent = 'interviews'::regclass THEN
        -- Room for the next snapshot beside the last: an update then touches no index.
        EXECUTE format('ALTER TABLE %s SET (fillfactor = 70)', place);
      END IF;
      EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
        parent, place, first, first + interval '1 month');
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
