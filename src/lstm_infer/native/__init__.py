"""Native files (.lsi): a model as it runs, mapped instead of read (docs/format.md)."""
