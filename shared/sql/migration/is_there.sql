SELECT 1 WHERE to_regclass('schema_migration') IS NOT NULL
