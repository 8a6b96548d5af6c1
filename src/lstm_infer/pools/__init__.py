"""What a pool is made of: rows of states, batches of several sizes, and what its calls are given."""
