-- The batch is over, and all of it is taken in.
UPDATE rating_batches SET ended_at = now(), ended = %(ended)s
WHERE batch_id = %(batch_id)s AND holder = %(holder)s
RETURNING 1
