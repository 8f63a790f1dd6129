-- The monthly partitions from a moment's month on.
SELECT ensure_partitions(%(from_month)s, %(months)s::integer)
