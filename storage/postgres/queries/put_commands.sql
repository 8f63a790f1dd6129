-- Remembered answers, as pairs. Where one was decided anew after lost writes, the newer one counts.
INSERT INTO commands (user_id, created_at, interview_id, command_id, answer)
SELECT %(user_id)s, %(created_at)s, %(interview_id)s, pair ->> 0, pair ->> 1
FROM json_array_elements(%(commands)s::json) AS pair
ON CONFLICT (user_id, created_at, interview_id, command_id) DO UPDATE SET answer = excluded.answer
WHERE commands.answer <> excluded.answer
