-- A new interview; a repeat of the same creation changes nothing and returns nothing.
INSERT INTO interviews (user_id, created_at, interview_id, plan, status, phase, session, version,
  head_seq, head_check, guide)
VALUES (%(user_id)s, %(created_at)s, %(interview_id)s, %(plan)s, %(status)s, %(phase)s, %(session)s,
  0, 0, 0, %(guide)s)
ON CONFLICT (user_id, created_at, interview_id) DO NOTHING
RETURNING 1
