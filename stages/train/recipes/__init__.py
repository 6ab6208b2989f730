"""One TOML per published configuration; `affcache train --recipe NAME` finds them here."""
