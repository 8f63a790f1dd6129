-- Calls that could not be sent leave their batch: they wait for another one, or are made live.
UPDATE rating_requests SET code = %(code)s,
  batch_id = CASE WHEN %(code)s::text IS NULL THEN NULL ELSE batch_id END,
  not_before = now() + make_interval(secs => %(seconds)s)
WHERE batch_id = %(batch_id)s AND request_id = ANY(%(requests)s) AND reply IS NULL AND code IS NULL
