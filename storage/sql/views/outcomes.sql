-- every input with its outcome: a label or a rejection
-- columns: light
FROM light_files
