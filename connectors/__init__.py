"""The outside world, one folder each: chat models, Arcade, the emulators, chat clients.

A connector's package imports its library only when it is used, so that commands start fast.
"""
