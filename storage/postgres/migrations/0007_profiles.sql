-- What users tell about themselves. There is a row from the first change on; it says who last wrote by
-- its version.

CREATE TABLE profiles (
  user_id text PRIMARY KEY,
  name text,
  language text,
  preferences jsonb NOT NULL,
  version bigint NOT NULL,
  updated_at timestamptz NOT NULL
);
