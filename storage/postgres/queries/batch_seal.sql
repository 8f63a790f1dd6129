-- A group and what belongs to it, before anything is sent.
WITH batch AS (
  INSERT INTO rating_batches (batch_id, api, model)
  VALUES (%(batch_id)s, %(api)s, %(model)s) RETURNING batch_id
)
UPDATE rating_requests r SET batch_id = batch.batch_id
FROM batch
WHERE r.request_id = ANY(%(requests)s) AND r.batch_id IS NULL
