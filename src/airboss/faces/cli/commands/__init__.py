"""The commands, one module a noun. They import nothing heavy until they run."""
