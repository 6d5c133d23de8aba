"""Which trial comes next and which ends early: searchers, rungs, budgets and the queue that records before it acts.

Knows neither Ray nor torch: it is replayed from records and tested without both.
"""
