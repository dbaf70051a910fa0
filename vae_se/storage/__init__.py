"""Files that appear complete or not at all, and files of others that are checked before they are used."""
