"""`python -m motherlode.cli`: the command `lode` where it is not on the path."""

from motherlode.cli import main

main()
