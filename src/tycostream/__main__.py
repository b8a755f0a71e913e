"""``python -m tycostream``."""

from tycostream.cli import main

main()
