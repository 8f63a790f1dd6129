-- One interview by its id, which names its partition.
SELECT interview_id, user_id, plan::text, status, phase, unix_ms(created_at), unix_ms(started_at),
  unix_ms(ended_at)
FROM interviews
WHERE created_at = %(created_at)s AND interview_id = %(interview_id)s
