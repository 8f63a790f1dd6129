-- What is written most, in one call each: it took four to eight statements, and as many waits.
--
-- Each statement of a volatile function has a snapshot of its own (PostgreSQL, Function Volatility
-- Categories): at READ COMMITTED, what is read behind a lock is whatever its previous holder committed.
-- Statements are planned for the values at hand, as everywhere: plans that are kept took half of the time,
-- but lock the partitions of all months, and would have the index of an old one stop all writes.

-- Writes `live` over what is held, unless it is not known to descend from that. `digests` tells the sha256 of
-- every finished turn by its number; `given_turns` are those that are probably missing, as the protocol
-- writes them; `answers` are pairs of a command's id and what it was answered. Older states never
-- overwrite newer ones, finished turns never change. The outcome is
--   written
--   erased
--   foreign   it is held as another user's
--   held      another state is, whose head is `held_seq` and `held_check`: 0, 0 where nothing is any more
--   diverged  the turns `named` are held with another text
--   lacking   nothing was written: the plan and the turns `named` are to be given
CREATE FUNCTION write_interview(
  interview uuid, born timestamptz, live json, digests json, given_turns json, answers json,
  OUT outcome text, OUT held_seq bigint, OUT held_check bigint, OUT named integer[]
)
  LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
  given record;
  held record;
  missing integer[];
BEGIN
  -- Kept to the end of the transaction by whoever writes or erases the interview.
  PERFORM pg_advisory_xact_lock(hashtextextended(interview::text, 0));
  SELECT * INTO given FROM json_to_record(live) AS r (user_id text, plan jsonb, guide jsonb, status text,
    phase text, started_at bigint, ended_at bigint, session json, version bigint, head_seq bigint,
    head_check bigint, stored_seq bigint, stored_check bigint);
  SELECT i.user_id, i.version, i.head_seq, i.head_check,
      EXISTS (SELECT FROM tombstones t WHERE t.interview_id = interview) AS erased
    INTO held
    FROM (VALUES (1)) AS one (n)
    LEFT JOIN interviews i ON i.created_at = born AND i.interview_id = interview;

  outcome := CASE
    WHEN held.erased THEN 'erased'
    WHEN held.user_id <> given.user_id THEN 'foreign'
    -- Redis tells what it believes to be stored. Being longer proves nothing: a log that lost its tail and
    -- grew again is longer, too, and lacks what was promised to be stored.
    WHEN held.user_id IS NULL AND (given.stored_seq, given.stored_check) <> (0, 0) THEN 'held'
    WHEN held.version > given.version OR (held.head_seq, held.head_check)
      NOT IN ((given.stored_seq, given.stored_check), (given.head_seq, given.head_check)) THEN 'held'
  END;
  IF outcome IS NOT NULL THEN
    held_seq := coalesce(held.head_seq, 0);
    held_check := coalesce(held.head_check, 0);
    RETURN;
  END IF;

  SELECT array_agg(d.key::integer) FILTER (WHERE t.sha256 <> d.value),
      array_agg(d.key::integer) FILTER (WHERE t.turn IS NULL)
    INTO named, missing
    FROM json_each_text(digests) AS d
    LEFT JOIN turns t ON t.user_id = given.user_id AND t.created_at = born AND t.interview_id = interview
      AND t.turn = d.key::integer;
  IF named IS NOT NULL THEN
    outcome := 'diverged';
    RETURN;
  END IF;
  IF (held.user_id IS NULL AND given.plan IS NULL) OR EXISTS (
    SELECT unnest(missing) EXCEPT SELECT (turn ->> 'turn')::integer FROM json_array_elements(given_turns) AS turn
  ) THEN
    named := missing;
    outcome := 'lacking';
    RETURN;
  END IF;

  outcome := 'written';
  IF held.user_id IS NULL THEN
    -- Whoever creates an interview does not wait for the lock, so it may be there by now.
    INSERT INTO interviews (user_id, created_at, interview_id, plan, guide, status, phase, session, version,
        head_seq, head_check)
      VALUES (given.user_id, born, interview, given.plan, given.guide, given.status, given.phase,
        given.session, 0, 0, 0)
      ON CONFLICT DO NOTHING;
  END IF;
  IF (held.version, held.head_seq) IS DISTINCT FROM (given.version, given.head_seq) THEN
    UPDATE interviews SET
        status = given.status,
        phase = given.phase,
        started_at = moment(given.started_at),
        ended_at = moment(given.ended_at),
        session = given.session,
        version = given.version,
        head_seq = given.head_seq,
        head_check = given.head_check
      WHERE user_id = given.user_id AND created_at = born AND interview_id = interview
        AND version <= given.version AND head_seq <= given.head_seq;
  END IF;
  IF missing IS NOT NULL THEN
    INSERT INTO turns (user_id, created_at, interview_id, turn, attempt, speaker, kind, question_id, text,
        sha256, unheard, outcome, source, started_at, ended_at, confidence)
      SELECT given.user_id, born, interview, t.turn, coalesce(t.attempt, 1), t.speaker, t.kind,
        t.question_id, t.text, t.sha256, coalesce(t.unheard, ''), t.outcome, t.source,
        moment(t.started_at), moment(t.ended_at), t.confidence
      FROM json_to_recordset(given_turns) AS t (turn integer, attempt integer, speaker text, kind text,
        question_id text, text text, sha256 text, unheard text, outcome text, source text,
        started_at bigint, ended_at bigint, confidence real)
      WHERE t.turn = ANY (missing);
  END IF;
  -- Remembered answers. Where one was decided anew after lost writes, the newer one counts.
  INSERT INTO commands AS c (user_id, created_at, interview_id, command_id, answer)
    SELECT given.user_id, born, interview, pair ->> 0, pair ->> 1 FROM json_array_elements(answers) AS pair
    ON CONFLICT (user_id, created_at, interview_id, command_id) DO UPDATE SET answer = excluded.answer
    WHERE c.answer <> excluded.answer;
END
$$;

-- Ledger rows by their own id: a row that was queued twice is kept once. Erased interviews get none.
CREATE FUNCTION write_ledger(rows json) RETURNS void
  LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  -- Beside other writers, never beside whoever erases. In one order everywhere.
  PERFORM pg_advisory_xact_lock_shared(hashtextextended(id, 0))
    FROM (SELECT DISTINCT given ->> 'interview_id' AS id FROM json_array_elements(rows) AS given
      ORDER BY 1) AS named;
  INSERT INTO ledger (user_id, created_at, interview_id, id, turn, attempt, call, at, model, api,
      outcome, code, response_id, input_tokens, cached_tokens, output_tokens, exact, cost_micro_usd,
      priced, first_token_ms, total_ms, task)
    SELECT r.user_id, r.created_at, r.interview_id, r.id, r.turn, r.attempt, r.call, moment(r.at), r.model,
      r.api, r.outcome, r.code, r.response_id, r.input_tokens, r.cached_tokens, r.output_tokens, r.exact,
      r.cost_micro_usd, r.priced, r.first_token_ms, r.total_ms, coalesce(r.task, 'speak')
    FROM json_to_recordset(rows) AS r (user_id text, created_at timestamptz, interview_id uuid,
      id text, turn integer, attempt integer, call integer, at bigint, model text, api text, outcome text,
      code text, response_id text, input_tokens bigint, cached_tokens bigint, output_tokens bigint,
      exact boolean, cost_micro_usd bigint, priced boolean, first_token_ms bigint, total_ms bigint,
      task text)
    WHERE NOT EXISTS (SELECT FROM tombstones t WHERE t.interview_id = r.interview_id)
    ON CONFLICT (user_id, created_at, interview_id, id) DO UPDATE SET
      at = excluded.at, model = excluded.model, api = excluded.api, outcome = excluded.outcome,
      code = excluded.code, response_id = excluded.response_id, input_tokens = excluded.input_tokens,
      cached_tokens = excluded.cached_tokens, output_tokens = excluded.output_tokens,
      exact = excluded.exact, cost_micro_usd = excluded.cost_micro_usd, priced = excluded.priced,
      first_token_ms = excluded.first_token_ms, total_ms = excluded.total_ms;
END
$$;

-- Puts a new interview in: once for each key, and no more than `most` of the user's (null: any number) since
-- `since`. Where it `plans`, the guide `planned` has to be one for what the user was asked so far. A repeat of
-- the same creation changes nothing. The outcome is
--   created
--   known      the key was used for the interview `other`, with a request whose digest is `known_digest`
--   full       `until_ms` is when the one was created that has to be out of the window first
--   unplanned  nothing was created: the guide is to be planned for the questions `asked`
--   taken      an instance that does not wait for the lock took the key meanwhile
CREATE FUNCTION create_interview(
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
        FROM interviews i, jsonb_array_elements(i.guide -> 'questions') WITH ORDINALITY AS one (q, place)
        WHERE i.user_id = creator AND i.guide IS NOT NULL
          AND (place <= coalesce((i.session ->> 'question')::integer, 0)
            OR i.status IN ('created', 'live', 'paused', 'disconnected'))
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
