-- The batch is known to have been sent, by whoever holds it.
UPDATE rating_batches SET provider_id = %(provider_id)s
WHERE batch_id = %(batch_id)s AND holder = %(holder)s AND held_until > now() AND provider_id IS NULL
RETURNING 1
