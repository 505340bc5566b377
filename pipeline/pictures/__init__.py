"""Pictures of images: colours, panels side by side."""
