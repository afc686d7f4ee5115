"""Redaction and private files: credentials, quoted text, controls, file modes."""
