"""The commands, a file for each family. A command imports what it needs when it runs, so that `--help` is quick."""
