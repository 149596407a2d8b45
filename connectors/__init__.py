"""Everything outside Cauce, one folder each: the gateway, chat models, hosted graphs, Arcade, the emulators, chat clients.

A connector's package imports its library only when it is used, so that commands start fast.
"""
