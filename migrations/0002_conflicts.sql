-- The conflicts of all spaces, open and resolved, each with its whole history. Written from each space's feed.

CREATE TABLE conflicts (
  space TEXT NOT NULL,
  id TEXT NOT NULL,
  entity_type TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL, -- open, resolved
  at_ms INTEGER NOT NULL,
  revision INTEGER NOT NULL, -- its place in the space's feed of conflicts
  value TEXT NOT NULL, -- the record, as JSON
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;

-- How far each space's feed of conflicts has been projected.
ALTER TABLE projections ADD COLUMN conflict_revision INTEGER NOT NULL DEFAULT 0;
