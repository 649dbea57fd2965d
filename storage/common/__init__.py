"""What every room uses: checked configurations, SQL in files, plugins, extras, tables in Markdown."""
