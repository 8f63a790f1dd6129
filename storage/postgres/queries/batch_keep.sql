-- Whoever holds the batch goes on holding it.
UPDATE rating_batches SET held_until = now() + make_interval(secs => %(lease_s)s)
WHERE batch_id = %(batch_id)s AND holder = %(holder)s AND held_until > now()
RETURNING 1
