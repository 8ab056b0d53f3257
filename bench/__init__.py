"""How fast is it all, against what stands beside it: ``make bench``. See README.md here. Not installed."""
