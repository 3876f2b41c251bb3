"""`python -m autoprec` is `autoprec`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, which may be anybody's

from autoprec.cli import main

main()
