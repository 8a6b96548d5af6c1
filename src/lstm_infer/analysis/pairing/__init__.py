"""Which outputs hold the next values of which inputs: one kind of evidence a function, in the order of their trust."""
