"""What may be shown: keys, texts of books and models, control characters."""
