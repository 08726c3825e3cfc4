"""The revisions, oldest first. Frozen once released."""
