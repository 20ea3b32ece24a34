"""Commands of ``filestored``, each in one module with its arguments; `cli` dispatches to them."""
