"""A study from beginning to end: its phases, each run once, and what it would take.

The only room that puts data, training, search and execution together. It may use every room below, and commands use it.
"""
