"""The composition root: Litestar app, sockets, turns, sweeper, writer, REST, CLI."""
