-- What is concluded from interviews: guides they are asked by, ratings, reports, reviewers' decisions.

-- Fixed when the interview is created; it stands apart from the session, which is written each turn.
ALTER TABLE interviews ADD COLUMN guide jsonb;
ALTER TABLE turns ADD COLUMN confidence real;
ALTER TABLE ledger ADD COLUMN task text NOT NULL DEFAULT 'speak';

CREATE OR REPLACE VIEW turn_records AS
  SELECT user_id, created_at, interview_id, turn,
    json_build_object(
      'turn', turn, 'attempt', attempt, 'speaker', speaker, 'kind', kind, 'question_id', question_id,
      'text', text, 'sha256', sha256, 'outcome', outcome, 'source', source,
      'started_at', unix_ms(started_at), 'ended_at', unix_ms(ended_at), 'unheard', unheard,
      'confidence', confidence
    ) AS record
  FROM turns;

-- One rating a question; writing the report anew may replace it. `score` is null for insufficient evidence.
CREATE TABLE ratings (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  question_id text NOT NULL,
  score smallint,
  rating jsonb NOT NULL,
  rated_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, question_id),
  CONSTRAINT ratings_score CHECK (score BETWEEN 1 AND 5),
  -- No score is given without evidence, whatever the program above does.
  CONSTRAINT ratings_evidence CHECK (score IS NULL OR jsonb_array_length(rating -> 'evidence') > 0)
) PARTITION BY RANGE (created_at);

-- Every report that was written; the newest counts. `composite` is null where too little was rated.
CREATE TABLE reports (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  report_id uuid NOT NULL,
  composite real,
  report jsonb NOT NULL,
  written_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, report_id)
) PARTITION BY RANGE (created_at);

-- What a reviewer decided, and why. A changed mind is a further row.
CREATE TABLE decisions (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  decision_id uuid NOT NULL,
  reviewer text NOT NULL,
  decision text NOT NULL,
  reason text NOT NULL,
  decided_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, decision_id),
  CONSTRAINT decisions_decision CHECK (decision IN ('advance', 'hold', 'reject'))
) PARTITION BY RANGE (created_at);

-- As before, with the new tables among the parents.
CREATE OR REPLACE FUNCTION ensure_partitions(from_month timestamptz, months integer) RETURNS integer
  LANGUAGE plpgsql
  SET timezone = 'UTC'
AS $$
DECLARE
  parent regclass;
  home oid;
  name text;
  place text;
  first timestamptz;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['interviews', 'turns', 'commands', 'ledger', 'ratings', 'reports',
      'decisions']::regclass[] LOOP
    SELECT relnamespace INTO home FROM pg_class WHERE oid = parent;
    FOR i IN 0 .. months - 1 LOOP
      first := date_trunc('month', from_month) + make_interval(months => i);
      name := (SELECT relname FROM pg_class WHERE oid = parent) || to_char(first, '_YYYY_MM');
      CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = home);
      -- Only those who find something to make wait for each other; then they look again, by a query:
      -- `to_regclass` would answer from what this session remembers of the first look.
      PERFORM pg_advisory_xact_lock(hashtextextended('viva partitions', 0));
      CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = home);
      place := format('%s.%I', home::regnamespace, name);
      EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', place, parent);
      IF parent = 'interviews'::regclass THEN
        -- Room for the next snapshot beside the last: an update then touches no index.
        EXECUTE format('ALTER TABLE %s SET (fillfactor = 70)', place);
      END IF;
      EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
        parent, place, first, first + interval '1 month');
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
