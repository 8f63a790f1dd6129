-- Who erased the interview; whoever came first.
INSERT INTO erasures (interview_id, user_id) VALUES (%(interview_id)s, %(by)s)
ON CONFLICT DO NOTHING
