"""The harness's subcommands of `viva`."""
