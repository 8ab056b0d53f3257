"""``python -m seg_node`` is ``seg-node``."""

import sys

from seg_node.commands import main

if __name__ == "__main__":
    sys.exit(main())
