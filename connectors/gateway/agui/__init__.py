"""AG-UI 1.0: one POST endpoint, for CopilotKit and other clients of that protocol."""
