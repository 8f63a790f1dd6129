-- The batch that something is to be done about; whoever held it before writes nothing any more.
UPDATE rating_batches SET holder = %(holder)s, tries = tries + 1,
  held_until = now() + make_interval(secs => %(lease_s)s)
WHERE batch_id = (
  SELECT batch_id FROM rating_batches
  WHERE ended_at IS NULL AND due_at <= now() AND (held_until IS NULL OR held_until <= now())
  ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING batch_id::text, holder, api, model, provider_id, tries, unix_ms(sealed_at),
  extract(epoch FROM now() - sealed_at)::float8
