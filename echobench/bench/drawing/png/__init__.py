"""Results as pictures for slides. matplotlib draws them; what is in them is chosen as it is for the pages (../html)."""
