"""`python -m cluster`."""

from cluster.cli import main

main()
