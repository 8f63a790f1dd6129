-- Who erased the interview lately: rows that are older wait for a day to be dropped.
SELECT user_id FROM erasures
WHERE interview_id = %(interview_id)s AND at > now() - make_interval(secs => %(window_s)s)
