"""The verdict on a pair: complete evidence compared with limits."""
