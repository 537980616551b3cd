"""`python -m sophia_ref` is `sophia-ref`."""

import sys

from sophia_ref.cli import main

if __name__ == "__main__":
    sys.exit(main())
