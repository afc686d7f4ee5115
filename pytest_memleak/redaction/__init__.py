"""Redaction and private files: credentials, quoted text, control characters, file modes."""
