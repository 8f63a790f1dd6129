-- `write_interview` of 0010, but for two states of one version at one head. Behind a failover of Redis that lost
-- steps without events, other steps without events come to the same version: they were told to be written and
-- were not. What is held is another state then, and the writer raises the live one beyond it.

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
CREATE OR REPLACE FUNCTION write_interview(
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
    WHEN (held.head_seq, held.head_check) NOT IN
      ((given.stored_seq, given.stored_check), (given.head_seq, given.head_check)) THEN 'held'
    -- Of two states at one head, the version tells the later one, unless both came to the same by another course.
    -- A longer log is later at any version.
    WHEN (held.head_seq, held.head_check) = (given.head_seq, given.head_check)
      AND (held.version > given.version OR held.version = given.version AND EXISTS (
        SELECT FROM interviews i WHERE i.user_id = given.user_id AND i.created_at = born
          AND i.interview_id = interview AND i.session::text <> given.session::text)) THEN 'held'
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
        AND head_seq <= given.head_seq;
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
