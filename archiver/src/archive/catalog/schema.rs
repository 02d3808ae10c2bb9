//! The tables.

/// Kept in `PRAGMA user_version`; another one means another layout, and the catalog is rebuilt.
pub(super) const VERSION: i64 = 4;

pub(super) const SCHEMA: &str = "
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    pack INTEGER NOT NULL, offset INTEGER NOT NULL,         -- packs are entered up to here
    epoch TEXT NOT NULL,                                    -- random; another one means another catalog
    messages INTEGER NOT NULL, bytes INTEGER NOT NULL,
    slot_max INTEGER NOT NULL, leaf_next INTEGER NOT NULL,
    begun TEXT                                              -- packs and key tables when it was begun; null once all was entered
);
INSERT INTO state VALUES (1, 0, 0, lower(hex(randomblob(8))), 0, 0, 0, 0, '');

-- What was found damaged when packs were entered.
CREATE TABLE damaged (
    path TEXT NOT NULL,
    offset INTEGER NOT NULL,
    what TEXT NOT NULL,
    is_hole INTEGER NOT NULL,                               -- nobody knows what was there, but perhaps:
    object INTEGER,                                         -- the message or addition that its header names
    PRIMARY KEY (path, offset, what)
) WITHOUT ROWID;

CREATE TABLE objects (number INTEGER PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, bytes INTEGER NOT NULL, kind INTEGER NOT NULL);
CREATE INDEX objects_place ON objects (pack, offset);

CREATE TABLE parts (hmac BLOB PRIMARY KEY, object INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE part_users (object INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (object, seq)) WITHOUT ROWID;

CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    object INTEGER NOT NULL,                 -- its record
    slot INTEGER NOT NULL,                   -- its key
    leaf INTEGER NOT NULL,
    content_hmac BLOB NOT NULL,
    fold_hmac BLOB,
    bytes INTEGER NOT NULL,
    archived_ms INTEGER NOT NULL,
    internal_date_ms INTEGER NOT NULL,
    date_s INTEGER,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    quarantined TEXT,                        -- why, when it could not be parsed
    retention TEXT NOT NULL DEFAULT 'kept'
);
CREATE INDEX messages_content ON messages (content_hmac);
CREATE INDEX messages_fold ON messages (fold_hmac) WHERE fold_hmac IS NOT NULL;

CREATE TABLE additions (object INTEGER PRIMARY KEY, seq INTEGER NOT NULL REFERENCES messages);
CREATE INDEX additions_message ON additions (seq);
CREATE TABLE pending (object INTEGER PRIMARY KEY);   -- additions found before their message

CREATE TABLE folders (
    id INTEGER PRIMARY KEY,
    archive TEXT NOT NULL,
    path TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    messages INTEGER NOT NULL DEFAULT 0,
    UNIQUE (archive, path)
);

CREATE TABLE placements (
    folder INTEGER NOT NULL REFERENCES folders,
    uid INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES messages,
    internal_date_ms INTEGER NOT NULL,       -- IMAP INTERNALDATE
    flags TEXT NOT NULL DEFAULT '',          -- divided by spaces
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

CREATE TABLE evidence (
    seq INTEGER NOT NULL REFERENCES messages,
    hmac BLOB NOT NULL,
    object INTEGER NOT NULL,                 -- the record or addition that has it
    PRIMARY KEY (seq, hmac)
) WITHOUT ROWID;

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
