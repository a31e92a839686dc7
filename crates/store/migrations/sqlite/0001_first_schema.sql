-- The first schema. Times are milliseconds since 1970 UTC; ids are lower-case UUIDs with
-- hyphens; `hash` columns hold SHA-256 of a token and never the token.

CREATE TABLE vestibule_meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    seq                  INTEGER PRIMARY KEY AUTOINCREMENT,
    id                   TEXT    NOT NULL UNIQUE,
    username             TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    email                TEXT    COLLATE NOCASE UNIQUE,
    email_verified       INTEGER NOT NULL,
    name                 TEXT    NOT NULL,
    role                 TEXT    NOT NULL CHECK (role IN ('admin', 'user')),
    status               TEXT    NOT NULL CHECK (status IN ('active', 'disabled', 'pending', 'rejected')),
    groups               TEXT    NOT NULL CHECK (json_valid(groups)),
    password_hash        TEXT,
    must_change_password INTEGER NOT NULL,
    created_at           INTEGER NOT NULL
) STRICT;

CREATE INDEX accounts_admins ON accounts (role) WHERE role = 'admin';

CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL CHECK (kind IN ('browser', 'token')),
    created_at INTEGER NOT NULL,
    auth_time  INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    remember   INTEGER NOT NULL,
    amr        TEXT    NOT NULL CHECK (json_valid(amr)),
    mfa        INTEGER NOT NULL,
    rotate     INTEGER NOT NULL,
    client_ip  TEXT    NOT NULL,
    user_agent TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_account ON sessions (account_id, created_at);
CREATE INDEX sessions_end ON sessions (expires_at);
CREATE INDEX sessions_idle ON sessions (last_seen) WHERE kind = 'browser';

-- `host` is NULL for the portal's own token.
CREATE TABLE session_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    host       TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_tokens_of_session ON session_tokens (session_id, host, created_at);

-- A used row stays until its end, so that a second use is recognised. Deleting a row ends
-- the token at once.
CREATE TABLE refresh_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_end ON refresh_tokens (expires_at);

-- `hash` is SHA-256 of the whole key. `rate_requests` and `rate_window_ms` are both set or
-- both NULL.
CREATE TABLE api_keys (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE,
    hash           BLOB    NOT NULL UNIQUE,
    owner          TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    prefix         TEXT    NOT NULL,
    start          TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    enabled        INTEGER NOT NULL,
    scopes         TEXT    NOT NULL CHECK (json_valid(scopes)),
    rate_requests  INTEGER,
    rate_window_ms INTEGER,
    last_used_at   INTEGER,
    CHECK ((rate_requests IS NULL) = (rate_window_ms IS NULL))
) STRICT;

CREATE INDEX api_keys_of_owner ON api_keys (owner);
CREATE INDEX api_keys_prefix ON api_keys (prefix);

-- `value` is sealed.
CREATE TABLE one_time (
    kind       TEXT    NOT NULL,
    key        BLOB    NOT NULL,
    value      BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX one_time_end ON one_time (expires_at);

CREATE TABLE known_devices (
    account_id TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    device     BLOB    NOT NULL,
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (account_id, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX known_devices_seen ON known_devices (seen_at);

-- `pkcs8` is sealed.
CREATE TABLE signing_keys (
    kid        TEXT    NOT NULL PRIMARY KEY,
    purpose    TEXT    NOT NULL,
    pkcs8      BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX signing_keys_of_purpose ON signing_keys (purpose, created_at);

CREATE TABLE notes (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    client_ip  TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    detail     TEXT    NOT NULL
) STRICT;
