"""What is kept, and how it is proven: the store, the journal of facts, the audit over it."""
