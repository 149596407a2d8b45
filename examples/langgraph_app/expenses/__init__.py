"""An application as one finds it on LangGraph: docs/migrate-from-langgraph.md moves it to Cauce."""
