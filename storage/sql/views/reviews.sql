-- every review of a label, ever; `opinions` holds those that count
-- columns: reviews
FROM reviews_files
