"""`python -m engine.cli`: the `rosey-llm` command for when the console script is not on PATH."""

from engine.cli import main

main()
