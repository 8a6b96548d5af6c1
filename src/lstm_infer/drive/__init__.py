"""Ways to drive a model: what is drawn for its inputs, signals in pieces and in chunks, calls timed in turns."""
