"""Reports come in: landed in one transaction with the secret taken out, acknowledged, worked after."""
