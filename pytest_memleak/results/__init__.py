"""Results that reports read: pairs in plain values that travel between processes."""
