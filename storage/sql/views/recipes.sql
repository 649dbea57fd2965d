-- the configuration behind each recipe's hash
-- column recipe: hash of the whole recipe
-- column config: the configuration, JSON
SELECT recipe, config::JSON AS config
FROM recipes_files
