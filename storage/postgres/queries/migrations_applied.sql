SELECT number, checksum FROM schema_migrations
