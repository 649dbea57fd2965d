-- seconds of each stage on each part
-- columns: timings
FROM timings_files
