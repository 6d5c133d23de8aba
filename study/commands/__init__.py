"""The command line `wbc-study`, top floor of the package: one module for each group of commands, and what they share.

Commands read arguments, call one function of a room below and print what it returns. They may use every other room.
"""
