"""The commands, one file per family. A command imports what it needs when it runs, so that `--help` is fast."""
