"""One precision beside another: what each costs in error, bytes and time, and which mix stays inside an error."""
