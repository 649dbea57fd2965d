-- images and masks of the labels, as bytes
-- columns: heavy
FROM heavy_files
