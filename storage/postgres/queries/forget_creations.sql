-- Of users who did not come back since.
DELETE FROM creations WHERE at <= now() - make_interval(secs => %(window_s)s)
