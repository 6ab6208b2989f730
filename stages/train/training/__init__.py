"""The loop that trains every head: batches in, steps, checkpoints and metrics out."""
