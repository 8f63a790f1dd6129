-- One more creation of the user; what is out of the window goes.
WITH past AS (
  DELETE FROM creations WHERE user_id = %(user_id)s AND at <= %(window_start)s
)
INSERT INTO creations (user_id, at) VALUES (%(user_id)s, %(created_at)s)
