"""What happens to a record: one folder for each processor group (`group.ProcessorGroup`).

`settings_cache` is shared by all of them.
"""
