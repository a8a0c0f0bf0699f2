"""`python -m editcore` is `editcore`."""

import sys

from editcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
