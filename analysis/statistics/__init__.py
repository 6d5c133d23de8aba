"""Scores, intervals, tests and verdicts over a study's answers, and what follows from them: power, tuning curves, claims.

Functions of a `Study` or of frames, without words for people. May use `records`, `arms`, `metrics`.
"""
