"""`python -m moa_middleware`: the same as `moa`, where no script directory is on the path."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
