-- Writes a snapshot over an older one, never over a newer one. The plan and the guide stay as they were created.
INSERT INTO interviews (user_id, created_at, interview_id, plan, status, phase, started_at, ended_at,
  session, version, head_seq, head_check, guide)
VALUES (%(user_id)s, %(created_at)s, %(interview_id)s, %(plan)s, %(status)s, %(phase)s,
  moment(%(started_at)s), moment(%(ended_at)s), %(session)s, %(version)s, %(head_seq)s,
  %(head_check)s, %(guide)s)
ON CONFLICT (user_id, created_at, interview_id) DO UPDATE SET
  status = excluded.status,
  phase = excluded.phase,
  started_at = excluded.started_at,
  ended_at = excluded.ended_at,
  session = excluded.session,
  version = excluded.version,
  head_seq = excluded.head_seq,
  head_check = excluded.head_check
WHERE interviews.version <= excluded.version AND interviews.head_seq <= excluded.head_seq
