"""What the terminal shows while a study runs, and what `status` and the audit print.

Formats what other rooms hand in; decides nothing.
"""
