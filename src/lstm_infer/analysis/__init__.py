"""How a model streams: where time is, what is carried, and why."""
