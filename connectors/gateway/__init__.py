"""The front door: HTTP for chat clients, speaking the protocols that they already speak.

Stateless. It authenticates, checks, produces to `chat.messages`, reads threads and events from the store, and tails
`chat.responses` and `chat.deltas`; any instance can serve any request.

    app.py          the application: what is mounted where, middlewares, problems
    core.py         what all protocols share: threads, runs, decisions (`GatewayCore`)
    ingress.py      HTTP to Kafka                feed.py      Kafka to open streams
    thread_stream.py  replay, then live, no gap  sse.py       the wire form of a stream
    auth/           who is calling               limits.py    how often
    v1/  lg/  agui/ one protocol each
"""
