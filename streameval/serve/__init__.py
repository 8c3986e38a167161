"""What people see of a run: one snapshot of its output records, drawn as a page, a report or a table.

`snapshot` folds output records into a bounded picture, `report` draws that picture as one self-contained HTML page and
`terminal` as a table. The page of a live daemon and the report of a finished run are the same renderer over the same
snapshot. The room reads records and never the engine: whatever it shows, a subscriber of the topics could have shown.
"""
