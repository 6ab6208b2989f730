"""What the ANCLaF heads are made of: quadrants, a masked LSTM with attention, the affect loss.

Paper 001 (ANCLaF). Pure functions; the networks over them are in `stages.train.heads.anclaf`.
"""
