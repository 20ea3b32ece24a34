"""Command ``python -m filestored``, the same as ``filestored``."""

import sys

from filestored.cli import main

if __name__ == "__main__":
    sys.exit(main())
