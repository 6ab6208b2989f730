"""One TOML file per dataset: data, no code (the grammar is in `affcache.manifest`)."""
