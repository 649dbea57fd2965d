-- every cleaning decision, ever; `excluded` holds those in effect
-- columns: decisions
FROM decisions_files
