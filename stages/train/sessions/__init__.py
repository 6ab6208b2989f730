"""What stands behind the commands: options in, tables and files out."""
