"""Simulated data with known truth: always called simulated, never evidence about real affect."""
