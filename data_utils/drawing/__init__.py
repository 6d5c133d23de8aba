"""How generated images are drawn: shapes, stains and light, blood smears and tissue.

Every picture is a function of a random generator and a size. Modules here use each other alone: they know no source and no
configuration.
"""
