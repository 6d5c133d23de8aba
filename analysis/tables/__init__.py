"""Every table of a report as a frame with a caption, and the list of them all.

May use `statistics`, `wording` and the rooms below; figures stand beside it and are not used.
"""
