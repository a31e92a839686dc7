-- What sign-in at providers keeps. Only tables are added.

-- An identity is (issuer, subject), compared byte for byte.
CREATE TABLE provider_links (
    issuer       TEXT    NOT NULL,
    subject      TEXT    NOT NULL CHECK (subject <> ''),
    account_id   TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    provider     TEXT    NOT NULL,
    display      TEXT    NOT NULL,
    groups       TEXT    NOT NULL CHECK (json_valid(groups)),
    role         TEXT    CHECK (role IN ('admin', 'user')),
    linked_at    INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX provider_links_of_account ON provider_links (account_id, linked_at);

-- `tokens` is sealed: one JSON object with what the provider issued.
CREATE TABLE provider_sessions (
    session_id   TEXT    NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    provider     TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    sub          TEXT    NOT NULL,
    link_subject TEXT    NOT NULL,
    sid          TEXT,
    tokens       BLOB    NOT NULL,
    refresh_at   INTEGER
) STRICT;

CREATE INDEX provider_sessions_of_sub ON provider_sessions (issuer, sub);
CREATE INDEX provider_sessions_of_sid ON provider_sessions (issuer, sid) WHERE sid IS NOT NULL;

-- Made by administrators at run time. `spec` never holds the client secret; `secret` is it,
-- sealed, NULL for a public client.
CREATE TABLE providers (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    spec       TEXT    NOT NULL CHECK (json_valid(spec)),
    secret     BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Tokens of others that are taken no longer.
CREATE TABLE denied_jwts (
    issuer     TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('jti', 'sub')),
    value      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, kind, value)
) STRICT, WITHOUT ROWID;
