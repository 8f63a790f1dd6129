-- The last month too: an interview may be created just before it ends and stored just after.
SELECT ensure_partitions(now() - interval '1 month', %(months)s::integer + 1)
