-- A call that may wait, unless it is parked already. Erased interviews park none.
INSERT INTO rating_requests (user_id, created_at, interview_id, question_id, sample, request_id, task, turn,
  sampled, api, model, canary, prompt_sha256, instructions, input)
SELECT i.user_id, i.created_at, i.interview_id, %(question_id)s, %(sample)s, %(request_id)s, %(task)s,
  %(turn)s, %(sampled)s, %(api)s, %(model)s, %(canary)s, %(prompt_sha256)s, %(instructions)s, %(input)s
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
ON CONFLICT DO NOTHING
