"""Named settings of simulated caches, one TOML file each; see `stages.simulate.recipe`."""
