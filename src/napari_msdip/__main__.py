"""``python -m napari_msdip``, for where the command is not on the path."""

import sys

from napari_msdip.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
