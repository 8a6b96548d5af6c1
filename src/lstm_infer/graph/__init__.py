"""What a model is to the engine: nodes, values, and what is known of a value."""
