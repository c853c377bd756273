"""Start a program by its name, as an installed command does: `start.py NAME`."""

import importlib
import sys

importlib.import_module(sys.argv[1]).main()
