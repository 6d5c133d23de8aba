"""Words and forms that tables, figures and the report share: captions, number formats, names of controls, sections.

Knows no statistics.
"""
