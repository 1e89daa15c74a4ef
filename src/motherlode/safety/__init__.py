"""What stands between a model and harm: so far, files that say a machine made them."""
