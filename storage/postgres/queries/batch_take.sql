-- What became of calls, once each. Those of an erased interview are not there any more.
UPDATE rating_requests r SET reply = taken.reply, code = taken.code
FROM json_to_recordset(%(rows)s::json) AS taken (request_id text, reply text, code text)
WHERE r.request_id = taken.request_id AND r.batch_id = %(batch_id)s
  AND r.reply IS NULL AND r.code IS NULL
