"""The run directory: its layout, durable writes, records, the claim on it, and where it came from.

What a study keeps is written here and nowhere else. It may use configuration, design and the records of analysis; it knows
nothing of training, search or Ray.
"""
