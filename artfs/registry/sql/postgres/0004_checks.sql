-- Checks of rows, which say what a version or an alias is: registry/row_checks.py. NULL in rows of before.

ALTER TABLE versions ADD COLUMN row_check BYTEA;
ALTER TABLE aliases ADD COLUMN row_check BYTEA;
ALTER TABLE alias_moves ADD COLUMN row_check BYTEA;
