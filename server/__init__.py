"""The composition root: Litestar app, sockets, turn runner, sweeper, writer, REST, settings, CLI."""
