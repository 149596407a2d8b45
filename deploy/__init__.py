"""Set-up of Cauce, and the servers it can run on.

Nothing in the product imports this folder. It uses only the standard library, so that it works before anything is installed.
"""
