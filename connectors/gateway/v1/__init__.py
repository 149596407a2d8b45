"""Our own API under `/v1`: plain REST and SSE. `openapi.json` in this folder is its contract, checked by the tests."""
