//! The tables.

/// Kept in `PRAGMA user_version`; another one means another layout.
pub(super) const VERSION: i64 = 1;

pub(super) const SCHEMA: &str = "
CREATE TABLE watermark (one INTEGER PRIMARY KEY CHECK (one = 1), file INTEGER NOT NULL, offset INTEGER NOT NULL);
INSERT INTO watermark VALUES (1, 0, 0);

CREATE TABLE epoch (id TEXT NOT NULL);     -- random; another one means another catalog
INSERT INTO epoch VALUES (lower(hex(randomblob(8))));

CREATE TABLE objects (id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    content_hmac BLOB NOT NULL UNIQUE,
    fold_hmac BLOB,
    bytes INTEGER NOT NULL,
    archived_ms INTEGER NOT NULL,
    internal_date_ms INTEGER NOT NULL,       -- IMAP INTERNALDATE: when it was captured
    date_s INTEGER,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    quarantined TEXT,                        -- why, when it could not be parsed
    retention TEXT NOT NULL DEFAULT 'kept',
    manifest_pack INTEGER NOT NULL,
    manifest_offset INTEGER NOT NULL
);
CREATE INDEX messages_fold ON messages (fold_hmac) WHERE fold_hmac IS NOT NULL;

CREATE TABLE folders (
    id INTEGER PRIMARY KEY,
    archive TEXT NOT NULL,
    path TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    UNIQUE (archive, path)
);

CREATE TABLE placements (
    folder INTEGER NOT NULL REFERENCES folders,
    uid INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES messages,
    flags TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (folder, uid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX placements_message ON placements (seq, folder);

CREATE TABLE participants (
    seq INTEGER NOT NULL REFERENCES messages,
    address TEXT NOT NULL,
    role TEXT NOT NULL,
    evidence TEXT NOT NULL,
    expanded_from TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (seq, address, role, evidence, expanded_from)
) WITHOUT ROWID;
CREATE INDEX participants_address ON participants (address);

CREATE TABLE evidence (seq INTEGER NOT NULL REFERENCES messages, hmac BLOB NOT NULL, PRIMARY KEY (seq, hmac)) WITHOUT ROWID;

CREATE TABLE arrivals (
    seq INTEGER NOT NULL REFERENCES messages,
    profile TEXT NOT NULL,
    uidl TEXT NOT NULL,
    received_ms INTEGER
);
CREATE INDEX arrivals_message ON arrivals (seq);

-- What the index has to follow.
CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL REFERENCES messages);
";
