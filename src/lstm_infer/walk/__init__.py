"""One pass over the nodes at concrete sizes: what is known is folded, what is left has to run."""
