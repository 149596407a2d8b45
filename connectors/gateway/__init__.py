"""The front door: HTTP for chat clients, speaking the protocols that they already speak.

Stateless. It says who is calling, checks what they ask, and translates: what is done for them is in `core/`. Any instance can
serve any request.

    app.py            the application: what is mounted where, middlewares
    gateway_core.py   the use cases, with the states of hosted graphs and the gateway's own limits
    problems.py       how refusals look in HTTP      sse.py       the wire form of a stream
    auth/             who is calling                 limits.py    how often
    request_parts.py  bodies and their fields        own_*.py     routes of a user's own application
    v1/  lg/  agui/   one protocol each
"""

from connectors.connector import Connector

CONNECTOR = Connector(name="gateway")
