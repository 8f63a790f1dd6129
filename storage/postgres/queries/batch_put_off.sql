-- Nothing is to be done about the batch for a while.
UPDATE rating_batches SET due_at = now() + make_interval(secs => %(seconds)s), holder = NULL,
  held_until = NULL
WHERE batch_id = %(batch_id)s AND holder = %(holder)s
