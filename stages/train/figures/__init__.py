"""Pictures of what heads say."""
