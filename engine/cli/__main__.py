"""`python -m engine.cli`, where the console script is not on the path."""

from engine.cli import main

main()
