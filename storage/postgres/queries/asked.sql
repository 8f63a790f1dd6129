-- The bank's questions that a user was asked before, by their ids. Those of an interview that is not over
-- count as asked: they are still to come.
SELECT DISTINCT q ->> 'bank_id'
FROM interviews i, jsonb_array_elements(i.guide -> 'questions') WITH ORDINALITY AS asked (q, place)
WHERE i.user_id = %(user_id)s AND i.guide IS NOT NULL
  AND (place <= coalesce((i.session ->> 'question')::integer, 0)
    OR i.status IN ('created', 'live', 'paused', 'disconnected'))
