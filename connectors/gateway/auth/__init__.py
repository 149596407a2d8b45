"""Who is calling: tenant and user come from the credential alone, never from body, query or another header.

What credentials are, and whose, is in `core/`: `api_keys.py`, `sessions.py`, `identity_providers.py`.
"""
