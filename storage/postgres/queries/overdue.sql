-- Interviews that time should have ended, and that nobody looked at since: the oldest first. What is
-- really due is decided on the session itself, which may have moved on in Redis meanwhile.
SELECT i.interview_id
FROM interviews i
WHERE i.status IN ('created', 'live', 'paused', 'disconnected')
  AND CASE i.status
    WHEN 'created' THEN i.created_at <= moment(%(now)s - %(unstarted_ms)s)
    WHEN 'paused' THEN (i.session ->> 'rests_since')::bigint <= %(now)s - %(paused_ms)s
    WHEN 'disconnected' THEN (i.session ->> 'rests_since')::bigint
      + coalesce((i.session ->> 'grace_ms')::bigint, 0) <= %(now)s - %(margin_ms)s
    ELSE (i.session ->> 'running_since')::bigint <= %(now)s - %(live_ms)s
  END
ORDER BY i.created_at
LIMIT %(limit)s
