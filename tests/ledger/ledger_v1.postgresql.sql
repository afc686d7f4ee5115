-- The tables of version 1, as that version made them.
CREATE TABLE ledger_version (
    version INTEGER NOT NULL,
    since FLOAT NOT NULL
);
CREATE TABLE owners (
    id BIGSERIAL NOT NULL,
    lock VARCHAR(32) NOT NULL,
    host BYTEA NOT NULL,
    pid INTEGER NOT NULL,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    UNIQUE (lock)
);
CREATE TABLE questions (
    id BIGSERIAL NOT NULL,
    endpoint BYTEA NOT NULL,
    instruction_digest VARCHAR(64) NOT NULL,
    settings_digest VARCHAR(64) NOT NULL,
    book BYTEA NOT NULL,
    excerpt BYTEA NOT NULL,
    instruction BYTEA NOT NULL,
    temperature FLOAT NOT NULL,
    max_tokens INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (endpoint, instruction_digest, settings_digest)
);
CREATE TABLE summaries (
    text_digest VARCHAR(64) NOT NULL,
    summarizer VARCHAR(64) NOT NULL,
    text BYTEA NOT NULL,
    made FLOAT NOT NULL,
    PRIMARY KEY (text_digest, summarizer)
);
CREATE TABLE batches (
    id BIGSERIAL NOT NULL,
    provider BYTEA NOT NULL,
    endpoint BYTEA NOT NULL,
    digest VARCHAR(64) NOT NULL,
    batch_id BYTEA,
    state VARCHAR(16) NOT NULL,
    cause BYTEA,
    owner BIGINT,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    UNIQUE (digest),
    FOREIGN KEY(owner) REFERENCES owners (id)
);
CREATE TABLE jobs (
    id BIGSERIAL NOT NULL,
    provider BYTEA NOT NULL,
    digest VARCHAR(64) NOT NULL,
    job_id BYTEA,
    state VARCHAR(16) NOT NULL,
    endpoint BYTEA,
    examples INTEGER NOT NULL,
    tokens BIGINT,
    cause BYTEA,
    owner BIGINT,
    began FLOAT NOT NULL,
    ended FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(owner) REFERENCES owners (id),
    UNIQUE (provider, digest)
);
CREATE TABLE calls (
    id BIGSERIAL NOT NULL,
    question BIGINT NOT NULL,
    batch BIGINT,
    kind VARCHAR(16) NOT NULL,
    provider BYTEA NOT NULL,
    request_id VARCHAR(128) NOT NULL,
    state VARCHAR(16) NOT NULL,
    owner BIGINT,
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
    cause BYTEA,
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
    question BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    call BIGINT NOT NULL,
    PRIMARY KEY (question, ordinal),
    FOREIGN KEY(call) REFERENCES calls (id),
    FOREIGN KEY(question) REFERENCES questions (id)
);
CREATE INDEX ix_claims_call ON claims (call);
CREATE TABLE generations (
    question BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    call BIGINT NOT NULL,
    finish_reason VARCHAR(16) NOT NULL,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    text BYTEA NOT NULL,
    PRIMARY KEY (question, ordinal),
    FOREIGN KEY(question) REFERENCES questions (id),
    FOREIGN KEY(call) REFERENCES calls (id)
);
CREATE INDEX generations_by_reason ON generations (question, ordinal, finish_reason);
