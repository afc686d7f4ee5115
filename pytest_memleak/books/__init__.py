"""Books: from an EPUB, a text or the paper's JSON to excerpts with instructions."""
