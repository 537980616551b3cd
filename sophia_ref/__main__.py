"""python -m sophia_ref is sophia-ref."""

import sys

from sophia_ref.cli import main

sys.exit(main())
