"""How Cauce is run: what sets it up and the servers it can run on.

Nothing in the product imports this room. It uses the standard library only, so that it works before anything is
installed.
"""
