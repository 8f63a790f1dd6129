-- A report, once by its id.
INSERT INTO reports (user_id, created_at, interview_id, report_id, composite, report, written_at)
SELECT i.user_id, i.created_at, i.interview_id, %(report_id)s, %(composite)s, %(report)s,
  moment(%(at)s)
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
ON CONFLICT DO NOTHING
