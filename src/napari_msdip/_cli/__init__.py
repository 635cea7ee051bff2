"""The command line: words in, files and exit codes out. No numerical work in here."""
