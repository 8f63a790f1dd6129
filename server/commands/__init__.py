"""One module for each subcommand of `viva`, imported only when that subcommand runs."""
