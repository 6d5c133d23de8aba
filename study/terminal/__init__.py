"""What the terminal shows while a study runs, and the tables of `status`, of the audit and of a dry run.

Formats what other rooms hand in and decides nothing. It may use `search` and every room below.
"""
