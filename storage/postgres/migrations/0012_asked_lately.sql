-- `create_interview` of 0009, but for how far it looks back. It read the guides of all that the user ever created:
-- with thousands, of a school that has one user, that took a third of a second, twice. The newest 200 have asked
-- more than the bank holds.

-- Puts a new interview in: once for each key, and no more than `most` of the user's (null: any number) since
-- `since`. Where it `plans`, the guide `planned` has to be one for what the user was asked lately. A repeat of
-- the same creation changes nothing. The outcome is
--   created
--   known      the key was used for the interview `other`, with a request whose digest is `known_digest`
--   full       `until_ms` is when the one was created that has to be out of the window first
--   unplanned  nothing was created: the guide is to be planned for the questions `asked`
--   taken      an instance that does not wait for the lock took the key meanwhile
CREATE OR REPLACE FUNCTION create_interview(
  interview uuid, born timestamptz, given json, request_key text, request_digest text, since timestamptz,
  most integer, plans boolean, planned_for text[], planned jsonb,
  OUT outcome text, OUT other uuid, OUT known_digest text, OUT until_ms bigint, OUT asked text[]
)
  LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  creator text := given ->> 'user_id';
  locked boolean := false;
BEGIN
  LOOP
    -- Most repeats, and most of what is too many, needs no lock: a flood of one user's requests would take
    -- all connections, to wait for each other.
    SELECT 'known', k.interview_id, k.digest INTO outcome, other, known_digest
      FROM idempotency_keys k WHERE k.user_id = creator AND k.key = request_key;
    IF outcome IS NULL AND most IS NOT NULL THEN
      SELECT 'full', unix_ms(c.at) INTO outcome, until_ms
        FROM creations c WHERE c.user_id = creator AND c.at > since
        ORDER BY c.at DESC LIMIT 1 OFFSET most - 1;
    END IF;
    IF outcome IS NULL AND plans AND (locked OR planned_for IS NULL) THEN
      -- Questions of an interview that is not over count as asked: they are still to come.
      asked := ARRAY(SELECT DISTINCT q ->> 'bank_id'
        FROM (SELECT status, session, guide FROM interviews
            WHERE user_id = creator AND guide IS NOT NULL
            ORDER BY created_at DESC, interview_id DESC LIMIT 200) AS newest,
          jsonb_array_elements(newest.guide -> 'questions') WITH ORDINALITY AS one (q, place)
        WHERE place <= coalesce((newest.session ->> 'question')::integer, 0)
          OR newest.status IN ('created', 'live', 'paused', 'disconnected')
        ORDER BY 1);
      IF asked IS DISTINCT FROM planned_for THEN
        outcome := 'unplanned';
      END IF;
    END IF;
    IF outcome IS NOT NULL THEN
      RETURN;
    END IF;
    EXIT WHEN locked;
    -- Kept to the end of the transaction; what its previous holder committed is seen now.
    PERFORM pg_advisory_xact_lock(hashtextextended('creations of ' || creator, 0));
    locked := true;
  END LOOP;

  IF request_key IS NOT NULL THEN
    INSERT INTO idempotency_keys (user_id, key, digest, interview_id)
      VALUES (creator, request_key, request_digest, interview)
      ON CONFLICT (user_id, key) DO NOTHING;
    IF NOT FOUND THEN
      outcome := 'taken';
      RETURN;
    END IF;
  END IF;
  outcome := 'created';
  INSERT INTO interviews (user_id, created_at, interview_id, plan, guide, status, phase, session, version,
      head_seq, head_check)
    VALUES (creator, born, interview, (given -> 'plan')::jsonb, planned, given ->> 'status',
      given ->> 'phase', given -> 'session', 0, 0, 0)
    ON CONFLICT (user_id, created_at, interview_id) DO NOTHING;
  IF FOUND THEN
    DELETE FROM creations WHERE user_id = creator AND at <= since;
    INSERT INTO creations (user_id, at) VALUES (creator, born);
  END IF;
END
$$;
