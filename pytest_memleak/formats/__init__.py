"""Files of others, read and written: the paper's records, and logs in many formats."""
