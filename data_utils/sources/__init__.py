"""Where images come from: the protocol of a source, one module for each, and the door that opens them.

A source lists and decodes; splits, cache and fractions are made of it elsewhere. `opening` imports all of them.
"""
