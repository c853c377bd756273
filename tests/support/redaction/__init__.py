"""What the rules for secrets are measured with: keys, carriers, names, harmless and hostile texts."""
