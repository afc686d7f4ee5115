"""The verdict on a pair: complete evidence held against limits."""
