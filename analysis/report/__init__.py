"""The written results: the HTML page and its prose, the terminal's tables, the files of a report, the model card.

Puts together what `tables`, `figures` and `statistics` compute; computes nothing itself. The explorer stands above it.
"""
