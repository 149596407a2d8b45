"""The protocols that clients speak, one folder each with its `PROTOCOL`. They only translate, and know nothing of each other."""
