-- The tables of version 1, as that version made them.
CREATE TABLE ledger_version (
    version INTEGER NOT NULL,
    since FLOAT NOT NULL
);
CREATE TABLE owners (
    id INTEGER NOT NULL,
    lock VARCHAR(32) NOT NULL,
    host BLOB NOT NULL,
    pid INTEGER NOT NULL,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    UNIQUE (lock)
);
CREATE TABLE questions (
    id INTEGER NOT NULL,
    endpoint BLOB NOT NULL,
    instruction_digest VARCHAR(64) NOT NULL,
    settings_digest VARCHAR(64) NOT NULL,
    book BLOB NOT NULL,
    excerpt BLOB NOT NULL,
    instruction BLOB NOT NULL,
    temperature FLOAT NOT NULL,
    max_tokens INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (endpoint, instruction_digest, settings_digest)
);
CREATE TABLE summaries (
    text_digest VARCHAR(64) NOT NULL,
    summarizer VARCHAR(64) NOT NULL,
    text BLOB NOT NULL,
    made FLOAT NOT NULL,
    PRIMARY KEY (text_digest, summarizer)
);
CREATE TABLE batches (
    id INTEGER NOT NULL,
    provider BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    digest VARCHAR(64) NOT NULL,
    batch_id BLOB,
    state VARCHAR(16) NOT NULL,
    cause BLOB,
    owner INTEGER,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    UNIQUE (digest),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE TABLE jobs (
    id INTEGER NOT NULL,
    provider BLOB NOT NULL,
    digest VARCHAR(64) NOT NULL,
    job_id BLOB,
    state VARCHAR(16) NOT NULL,
    endpoint BLOB,
    examples INTEGER NOT NULL,
    tokens BIGINT,
    cause BLOB,
    owner INTEGER,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id),
    UNIQUE (provider, digest)
);
CREATE TABLE calls (
    id INTEGER NOT NULL,
    question INTEGER NOT NULL,
    batch INTEGER,
    kind VARCHAR(16) NOT NULL,
    provider BLOB NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    state VARCHAR(16) NOT NULL,
    owner INTEGER,
    first INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    came INTEGER,
    recovered BOOLEAN,
    max_tokens INTEGER NOT NULL,
    seed BIGINT,
    estimate BIGINT,
    cost BIGINT,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    cause BLOB,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(batch) REFERENCES batches (id),
    FOREIGN KEY(question) REFERENCES questions (id),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE INDEX calls_by_batch ON calls (batch);
CREATE INDEX calls_by_owner ON calls (owner, state);
CREATE INDEX calls_by_question ON calls (question, state);
CREATE INDEX calls_by_request ON calls (request_id);
CREATE TABLE claims (
    question INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    call INTEGER NOT NULL,
    PRIMARY KEY (question, ordinal),
    FOREIGN KEY(call) REFERENCES calls (id),
    FOREIGN KEY(question) REFERENCES questions (id)
);
CREATE INDEX ix_claims_call ON claims (call);
CREATE TABLE generations (
    question INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    call INTEGER NOT NULL,
    finish_reason VARCHAR(16) NOT NULL,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    text BLOB NOT NULL,
    PRIMARY KEY (question, ordinal),
    FOREIGN KEY(question) REFERENCES questions (id),
    FOREIGN KEY(call) REFERENCES calls (id)
);
CREATE INDEX generations_by_reason ON generations (question, ordinal, finish_reason);
