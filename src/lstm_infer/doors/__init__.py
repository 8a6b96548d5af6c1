"""The engine in the shape of other packages."""
