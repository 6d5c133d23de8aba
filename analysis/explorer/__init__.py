"""The explorer: a Dash application on loopback that shows studies, also while they run.

The address of the page says what is shown, and nothing else does: every view is drawn from the records and from
`view_state.ViewState`, which is read from the address. So any view can be bookmarked or sent to a colleague, the browser's
back button works, and new records change what is drawn without touching what is chosen.
"""
