"""What happens to a record: one folder for each processor group (`group.ProcessorGroup`).

`audit_trail` and `settings_cache` are shared by all of them.
"""
