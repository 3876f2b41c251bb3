"""`python -m autoprec` is `autoprec`."""

from autoprec.cli import main

main()
