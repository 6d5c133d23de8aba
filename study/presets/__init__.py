"""Named configurations that come with the package."""
