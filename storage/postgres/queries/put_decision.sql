-- A reviewer's decision, once by its id.
INSERT INTO decisions (user_id, created_at, interview_id, decision_id, reviewer, decision, reason,
  decided_at)
SELECT i.user_id, i.created_at, i.interview_id, %(decision_id)s, %(reviewer)s, %(decision)s,
  %(reason)s, moment(%(at)s)
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
ON CONFLICT DO NOTHING
