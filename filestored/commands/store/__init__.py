"""Commands that work on the files of a store itself: ``ls``, ``stat``, ``rm``, ``gc``."""
