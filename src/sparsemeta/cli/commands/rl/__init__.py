"""`sparsemeta rl COMMAND`."""
