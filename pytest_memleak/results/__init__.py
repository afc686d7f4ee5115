"""Results that reports read: every pair in plain values that travel between processes."""
