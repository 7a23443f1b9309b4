"""From runs to evidence: reads the files that runs wrote, and imports no training code."""
