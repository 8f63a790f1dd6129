-- Drops who created or erased an interview, once it matters no more.
WITH past AS (
  DELETE FROM erasures WHERE at <= now() - make_interval(secs => %(window_s)s)
)
DELETE FROM creations WHERE at <= now() - make_interval(secs => %(window_s)s)
