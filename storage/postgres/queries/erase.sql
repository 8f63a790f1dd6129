-- Leaves nothing of an interview but its tombstone. Cost rows go too: they name the user.
WITH
  tombstone AS (
    INSERT INTO tombstones (interview_id) VALUES (%(interview_id)s) ON CONFLICT DO NOTHING
  ),
  owner AS (
    SELECT user_id FROM interviews
    WHERE created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_turns AS (
    DELETE FROM turns WHERE user_id IN (SELECT user_id FROM owner)
      AND created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_commands AS (
    DELETE FROM commands WHERE user_id IN (SELECT user_id FROM owner)
      AND created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_ratings AS (
    DELETE FROM ratings WHERE user_id IN (SELECT user_id FROM owner)
      AND created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_reports AS (
    DELETE FROM reports WHERE user_id IN (SELECT user_id FROM owner)
      AND created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_decisions AS (
    DELETE FROM decisions WHERE user_id IN (SELECT user_id FROM owner)
      AND created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_parked AS (
    DELETE FROM rating_requests WHERE interview_id = %(interview_id)s
  ),
  erased_ledger AS (
    DELETE FROM ledger WHERE created_at = %(created_at)s AND interview_id = %(interview_id)s
  ),
  erased_keys AS (
    DELETE FROM idempotency_keys WHERE interview_id = %(interview_id)s
  )
DELETE FROM interviews WHERE created_at = %(created_at)s AND interview_id = %(interview_id)s
