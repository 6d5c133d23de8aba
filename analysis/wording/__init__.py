"""Words and forms that tables, figures and the report share: captions, number formats, controls, colours, sections.

Knows no statistics.
"""
