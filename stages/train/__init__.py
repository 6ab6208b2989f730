"""Stage two: windows of cached features through a temporal head to per-frame predictions."""
