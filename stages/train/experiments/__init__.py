"""Several runs as one: seeds, folds by person, curricula, votes and fusion."""
