"""Declarations of stage two's commands; the work is imported on use."""
