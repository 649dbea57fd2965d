-- images that no training may see
-- columns: evaluation
FROM evaluation_files
