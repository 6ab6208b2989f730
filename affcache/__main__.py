"""`python -m affcache`: the command line without an installation."""

from affcache.cli import main

main()
