"""The migration to OIDC. Pure: the text of workflow files and what people answered in, text and findings out."""
