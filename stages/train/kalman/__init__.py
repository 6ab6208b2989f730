"""Bayesian filters as layers of a network (paper 003, section III), and the delay of annotators.

`model` holds what a filter is made of and one frame of it; `covariance` the gains, which do not
depend on what is observed; `recurrence` the linear recurrences that are left; `linear` and
`extended` the two filters over whole sequences; `alignment` the shift between face and annotation;
`objective` the paper's loss.

Convention: time is the last dimension but those of the state, (..., T, n); a belief "before the
sequence" is about the frame before the first one.
"""
