"""Scores, intervals, tests and verdicts over a study's predictions, and what follows from them: power, tuning curves, claims.

Functions of a `Study` or of frames; what is dear, a study remembers. May use `wording`, `arms`, `records`, `metrics`.
"""
