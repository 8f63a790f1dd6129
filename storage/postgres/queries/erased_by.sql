-- Who erased the interview, as long as that is kept.
SELECT user_id FROM erasures WHERE interview_id = %(interview_id)s
