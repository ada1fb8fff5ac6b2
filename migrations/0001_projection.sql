-- The projection of all spaces: what people query with SQL. Written from each space's feed, never by clients.

CREATE TABLE entities (
  space TEXT NOT NULL,
  entity_type TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  data TEXT, -- NULL: deleted
  seq INTEGER NOT NULL,
  version TEXT NOT NULL,
  stamp TEXT NOT NULL,
  PRIMARY KEY (space, entity_type, entity_id)
) STRICT, WITHOUT ROWID;

-- How far each space has been projected.
CREATE TABLE projections (
  space TEXT PRIMARY KEY,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL,
  as_of_ms INTEGER NOT NULL -- when the cloud had nothing beyond seq
) STRICT, WITHOUT ROWID;
