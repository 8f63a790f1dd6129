-- Interviews, their turns and remembered command answers: all that rebuilds an interview.
--
-- Every table of an interview is partitioned by the month of the *interview's* creation, which stands
-- in its UUIDv7. So the id alone names the partition, and a replay always meets the same row. Keys
-- begin with the user, ready to be distributed by hash of `user_id`.

CREATE FUNCTION unix_ms(moment timestamptz) RETURNS bigint
  LANGUAGE sql STABLE STRICT PARALLEL SAFE
  RETURN (extract(epoch FROM moment) * 1000)::bigint;

CREATE FUNCTION moment(unix_ms bigint) RETURNS timestamptz
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN timestamptz 'epoch' + unix_ms * interval '1 millisecond';

CREATE TABLE interviews (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  plan jsonb NOT NULL,
  type text NOT NULL GENERATED ALWAYS AS (plan ->> 'type') STORED,
  status text NOT NULL,
  phase text NOT NULL,
  started_at timestamptz,
  ended_at timestamptz,
  -- The session without its plan, which never changes and would be written again each turn.
  session json NOT NULL,
  version bigint NOT NULL,
  head_seq bigint NOT NULL,
  head_check bigint NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id),
  CONSTRAINT interviews_user CHECK (length(user_id) BETWEEN 1 AND 255),
  CONSTRAINT interviews_status CHECK (status IN ('created', 'live', 'paused', 'disconnected',
    'completed', 'abandoned', 'expired', 'terminated')),
  CONSTRAINT interviews_version CHECK (version >= 0),
  CONSTRAINT interviews_head CHECK (head_seq >= 0 AND head_check BETWEEN 0 AND 9007199254740991)
) PARTITION BY RANGE (created_at);

-- Of everybody, newest first; and one interview by its id.
CREATE INDEX interviews_time ON interviews (created_at, interview_id);
CREATE INDEX interviews_status_time ON interviews (status, created_at, interview_id);
CREATE INDEX interviews_type_time ON interviews (type, created_at, interview_id);

CREATE TABLE turns (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  turn integer NOT NULL,
  attempt integer NOT NULL,
  speaker text NOT NULL,
  kind text NOT NULL,
  question_id text,
  -- What was heard or answered. What was generated beyond an interruption stands apart.
  text text NOT NULL,
  sha256 text NOT NULL,
  unheard text NOT NULL,
  outcome text NOT NULL,
  source text,
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, turn),
  CONSTRAINT turns_number CHECK (turn >= 1 AND attempt >= 1),
  CONSTRAINT turns_speaker CHECK (speaker IN ('interviewer', 'candidate')),
  CONSTRAINT turns_outcome CHECK (outcome IN ('final', 'interrupted', 'failed')),
  CONSTRAINT turns_source CHECK (source IN ('model', 'cache', 'bank')),
  -- The promise of the contract, kept by the database itself: these bytes and no others.
  CONSTRAINT turns_sha256 CHECK (sha256 = encode(sha256(convert_to(text, 'UTF8')), 'hex'))
) PARTITION BY RANGE (created_at);

-- Turns as the protocol writes them.
CREATE VIEW turn_records AS
  SELECT user_id, created_at, interview_id, turn,
    json_build_object(
      'turn', turn, 'attempt', attempt, 'speaker', speaker, 'kind', kind, 'question_id', question_id,
      'text', text, 'sha256', sha256, 'outcome', outcome, 'source', source,
      'started_at', unix_ms(started_at), 'ended_at', unix_ms(ended_at), 'unheard', unheard
    ) AS record
  FROM turns;

CREATE TABLE commands (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  command_id text NOT NULL,
  answer text NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, command_id),
  CONSTRAINT commands_id CHECK (command_id ~ '^[A-Za-z0-9_-]{1,64}$')
) PARTITION BY RANGE (created_at);

-- A client's name for one creation, so that a repeated request creates nothing twice.
CREATE TABLE idempotency_keys (
  user_id text NOT NULL,
  key text NOT NULL,
  digest text NOT NULL,
  interview_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key),
  CONSTRAINT idempotency_keys_key CHECK (length(key) BETWEEN 1 AND 255)
);
CREATE INDEX idempotency_keys_interview ON idempotency_keys (interview_id);

-- Erased interviews, by id alone: they refuse what arrives late.
CREATE TABLE tombstones (interview_id uuid PRIMARY KEY);
