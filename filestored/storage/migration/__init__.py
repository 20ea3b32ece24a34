"""Migration of a store to another hash algorithm."""
