"""The programs and the memory of live signals."""
