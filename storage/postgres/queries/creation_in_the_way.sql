-- When the user created the interview that has to be out of the window before there may be another;
-- no row while there is room.
SELECT unix_ms(at) FROM creations
WHERE user_id = %(user_id)s AND at > %(window_start)s
ORDER BY at DESC
LIMIT 1 OFFSET %(most)s - 1
