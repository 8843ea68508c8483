"""What happened in a build, as events: the one record that every view of a build is made from."""
