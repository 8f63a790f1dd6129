-- Turns as the protocol writes them, defaults left out. They are never changed afterwards.
INSERT INTO turns (user_id, created_at, interview_id, turn, attempt, speaker, kind, question_id, text,
  sha256, unheard, outcome, source, started_at, ended_at, confidence)
SELECT %(user_id)s, %(created_at)s, %(interview_id)s, turn, coalesce(attempt, 1), speaker, kind,
  question_id, text, sha256, coalesce(unheard, ''), outcome, source, moment(started_at),
  moment(ended_at), confidence
FROM json_to_recordset(%(turns)s::json) AS t (turn integer, attempt integer, speaker text, kind text,
  question_id text, text text, sha256 text, unheard text, outcome text, source text,
  started_at bigint, ended_at bigint, confidence real)
