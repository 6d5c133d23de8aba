"""The records of one run directory as frames, on a disk or in an object store, and the schema that `study` shares.

The ground of the package: imports nothing above it, no torch and no Ray.
"""
