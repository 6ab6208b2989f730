"""`python -m affcache`: the command line without an installation, if Python has what it needs."""

import sys

try:
    from affcache.cli import main

    main()
except ModuleNotFoundError as error:
    if "--debug" in sys.argv:
        raise
    print(
        f"affcache: {sys.executable} has no {error.name}; affcache needs Python 3.11 or newer and "
        "the packages of setup.cfg: `make setup` puts them into .venv (then .venv/bin/affcache), "
        "`pip install .` into an environment of yours",
        file=sys.stderr,
    )
    sys.exit(2)
